package resolver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// patience is how long channels wait for a first view before their calls are told that there is none.
const patience = 2 * time.Second

var errPatience = fmt.Errorf("no view within %v", patience)

// watcher is what a source follows a service with: a [rollcall.Watcher].
type watcher interface {
	Next(ctx context.Context) (*rollcall.View, error)
	Close()
}

// source follows a selection of a service's instances for all channels that ask for it: each view is reduced once, and
// all channels are sent the same endpoints.
type source struct {
	key    key
	users  int // guarded by the sources' mu
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended

	knowledge // touched by the goroutine only, while that runs

	listed atomic.Bool // a channel may have views as lists of endpoints, and not by a link

	mu       sync.Mutex
	now      state // written by the goroutine only
	channels map[*channel]struct{}
}

// knowledge is what one view is made of the next from.
type knowledge struct {
	reducer *endpoints.Reducer
	last    *rollcall.View // what the reducer was given last, without its Updates; nil before the first
}

// state is what there is to tell a channel.
type state struct {
	view  *endpoints.View // the newest; nil before the first
	err   error           // what is to be reported; while there is a view only what ended the source
	ended bool            // nothing will follow
}

// state returns the newest.
func (s *source) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// attach has a channel hear of every state from now on, and of the one that is.
func (s *source) attach(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[c] = struct{}{}
	c.wake()
}

// detach ends that: afterwards the source has nothing under way to the channel.
func (s *source) detach(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, c)
}

// publish tells the channels: those at once whose policy takes the view from here, the others by their own goroutines.
func (s *source) publish(next state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = next
	for c := range s.channels {
		if next.err != nil || !c.pass(next.view) {
			c.wake()
		}
	}
}

// end tells channels why nothing will follow. What they have they keep.
func (s *source) end(err error) {
	s.publish(state{view: s.now.view, err: plain(err), ended: true})
}

// run passes views on until ctx ends or the registry has no more, and returns which it was. gRPC processes an update at a cost
// that grows with the instances: what changes shortly after one is gathered, for longer while changes go on.
func (s *source) run(ctx context.Context, w watcher) error {
	defer w.Close()
	var published time.Time
	var gathering time.Duration // from then on
	view, err := s.first(ctx, w)
	for err == nil {
		s.take(view)
		if until := published.Add(gathering); time.Now().Before(until) {
			err = s.gather(ctx, w, until)
		}
		s.reducer.Linked = !s.listed.Load()
		if next, changed := s.reducer.View(); changed || s.now.view == nil {
			s.publish(state{view: next})
			gathering = endpoints.Gathering(gathering, time.Since(published), window(len(next.Instances)))
			published = time.Now()
		}
		if err == nil {
			view, err = w.Next(ctx)
		}
	}
	return err
}

// gather takes what comes until a moment.
func (s *source) gather(ctx context.Context, w watcher, until time.Time) error {
	soon, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		view, err := w.Next(soon)
		if soon.Err() != nil && err != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.take(view)
	}
}

// first waits for the first view, and has channels told if that takes long: their calls then fail, saying why, instead
// of hanging. Those that wait for ready still do.
func (s *source) first(ctx context.Context, w watcher) (*rollcall.View, error) {
	soon, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	view, err := w.Next(soon)
	if err == nil || soon.Err() == nil || ctx.Err() != nil {
		return view, err
	}
	s.publish(state{err: plain(err)}) // names etcd's endpoints and what the last try met
	return w.Next(ctx)
}

// take takes note of a view. A watcher's first adds every instance, which is not what changed for somebody who comes back.
func (s *source) take(view *rollcall.View) {
	updates := view.Updates
	if s.now.view == nil && s.last != nil {
		updates = view.Since(s.last)
	}
	last := *view
	last.Updates = nil
	s.last = &last
	s.reducer.Policy = view.Policy
	s.reducer.Take(updates)
}

// window is the most that changes are gathered after an update of n instances. It grows as the update's cost.
func window(n int) time.Duration {
	return min(5*time.Millisecond+time.Duration(n)*10*time.Microsecond, 100*time.Millisecond)
}

// plain makes an error fit for ReportError: of an error that wraps a gRPC status, as etcd's do, gRPC would make the
// status of the call, and fail even calls that wait for ready.
func plain(err error) error { return errors.New("rollcall: " + err.Error()) }
