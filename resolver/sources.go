package resolver

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// linger is how long what is known of a service is kept after its last channel closed: one that comes back from idleness
// finds the endpoints that it had. The registry follows the service just as long.
const linger = 30 * time.Second

// sources are those that channels have, one for all channels that ask for the same.
type sources struct {
	mu     sync.Mutex
	live   map[key]*source
	parked map[key]*parked
}

// shared are the sources of the process.
var shared = newSources()

func newSources() *sources {
	return &sources{live: map[key]*source{}, parked: map[key]*parked{}}
}

// key tells sources apart.
type key struct {
	registry  *rollcall.Registry
	selection string
}

// parked is what a source knew that nobody has now.
type parked struct {
	knowledge
	timer *time.Timer // drops it
}

// join returns the source of a selection, for one more channel. Watch is asked for a watcher if nobody has the source yet.
func (t *sources) join(reg *rollcall.Registry, sel selection, watch func() watcher) *source {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{reg, sel.String()}
	s := t.live[k]
	if s == nil {
		s = &source{key: k, knowledge: t.unpark(k), channels: map[*channel]struct{}{}, done: make(chan struct{})}
		if s.reducer == nil {
			s.reducer = endpoints.NewReducer(sel.service, reg.Zone(), sel.keep())
			s.reducer.Target, s.reducer.Linked = k.selection, true
		}
		s.listed.Store(!s.reducer.Linked)
		t.live[k] = s
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(context.Background())
		go func() {
			defer close(s.done)
			if err := s.run(ctx, watch()); ctx.Err() == nil {
				t.forget(s)
				s.end(err)
			}
		}()
	}
	s.users++
	return s
}

// leave gives a source back. The last to do so waits until nothing of it runs any more.
func (t *sources) leave(s *source) {
	t.mu.Lock()
	s.users--
	last := s.users == 0
	if last && t.live[s.key] == s {
		delete(t.live, s.key)
	}
	t.mu.Unlock()
	if last {
		s.cancel()
		<-s.done
		t.park(s)
	}
}

// forget makes the next channel begin anew when a source has ended by itself: channels join what lives.
func (t *sources) forget(s *source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live[s.key] == s {
		delete(t.live, s.key)
	}
}

// park keeps for a while what a source knew, unless the registry has ended.
func (t *sources) park(s *source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.last == nil || s.state().ended {
		return
	}
	s.reducer.Linked = !s.listed.Load()
	p := &parked{knowledge: s.knowledge}
	t.parked[s.key] = p
	p.timer = time.AfterFunc(linger, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.parked[s.key] == p {
			delete(t.parked, s.key)
		}
	})
}

// unpark takes what is still known of a service, if anything is.
func (t *sources) unpark(k key) knowledge {
	p := t.parked[k]
	if p == nil {
		return knowledge{}
	}
	p.timer.Stop()
	delete(t.parked, k)
	return p.knowledge
}
