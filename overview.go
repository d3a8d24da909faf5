package rollcall

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Overview is all services, or those that have changed since the overview that the same watcher returned before.
type Overview struct {
	Revision int64   // etcd's revision as of which it is complete
	Complete bool    // Services are all that there are
	Services []*View // sorted by name, as they are now, without Updates; one without instances and without a policy is gone

	StaleSince time.Time // when etcd went out of reach; zero while the overview is current
	StaleErr   error     // why it is stale; nil while it is current
}

// ServicesWatcher follows all services. One goroutine at a time may call Next; Close may be called from anywhere.
type ServicesWatcher struct {
	registry  *Registry
	closed    chan struct{}
	closeOnce sync.Once

	seq   uint64          // touched by Next only, as names
	names map[string]bool // that were told, and not as gone
}

// WatchServices follows all services of a registry that was made with [WithFollowAll]. It never fails: what is wrong, Next tells. Its
// memory is the names of the services.
func (r *Registry) WatchServices() *ServicesWatcher {
	return &ServicesWatcher{registry: r, closed: make(chan struct{}), names: map[string]bool{}}
}

// Next returns all services as soon as etcd has told of them, and later blocks until some have changed, or it is known that etcd is out
// of reach, or no longer. Who is slow is told less often, never less. When ctx ends first the error is an [UnreachableError] if etcd
// never answered, else ctx's own; after Close it is [ErrClosed].
func (w *ServicesWatcher) Next(ctx context.Context) (*Overview, error) {
	o, err := w.next(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch services: %w", err)
	}
	return o, nil
}

func (w *ServicesWatcher) next(ctx context.Context) (*Overview, error) {
	if err := w.registry.checkAll(); err != nil {
		return nil, err
	}
	e := w.registry.everything()
	if err := e.await(ctx); err != nil {
		return nil, err
	}
	for {
		select {
		case <-w.closed:
			return nil, ErrClosed
		default:
		}
		names, all, seq, wait := e.newer(w.seq)
		if wait == nil {
			o := e.overview(names)
			o.Complete = all
			w.took(o)
			w.seq = seq
			return o, nil
		}
		select {
		case <-wait:
		case <-w.closed:
			return nil, ErrClosed
		case <-e.r.ctx.Done():
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// took notes which services the reader knows of, and leaves out those that are gone before he heard of them.
func (w *ServicesWatcher) took(o *Overview) {
	if o.Complete {
		clear(w.names)
	}
	o.Services = slices.DeleteFunc(o.Services, func(v *View) bool {
		gone := len(v.Instances) == 0 && v.Policy == nil
		known := w.names[v.Service]
		if gone {
			delete(w.names, v.Service)
		} else {
			w.names[v.Service] = true
		}
		return gone && !known
	})
}

// Close ends the watcher: Next, also one that blocks now, returns [ErrClosed]. It is idempotent.
func (w *ServicesWatcher) Close() { w.closeOnce.Do(func() { close(w.closed) }) }

// overview returns the given services as they are now.
func (e *everything) overview(names []string) *Overview {
	e.mu.Lock()
	o := &Overview{Revision: e.at.Revision, StaleSince: e.since, StaleErr: e.err}
	e.mu.Unlock()
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		v := &View{Service: name, Revision: o.Revision}
		e.r.mu.Lock()
		f := e.r.feeds[name]
		e.r.mu.Unlock()
		if f != nil {
			if shown := f.shown(); shown != nil {
				v = shown
			}
		}
		o.Services = append(o.Services, v)
	}
	return o
}
