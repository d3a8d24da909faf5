package rollcall

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
)

// Watcher follows one service. One goroutine at a time may call Next or range over Views; Close may be called from
// anywhere. Watchers of the same service in one registry share one watch in etcd.
//
// The views come in the order of their revisions. Each is complete. Whoever is slow skips views, never changes: what
// was skipped is merged into the next view's Updates. A watcher that is never read costs two views at most.
//
// Trouble with etcd is not an error but a view whose [View.StaleSince] is set: what is known stays, and is marked. It
// heals by itself, whatever happened to the watch.
type Watcher struct {
	registry     *Registry
	service      string
	linearizable bool
	began        time.Time

	closed    chan struct{}
	closeOnce sync.Once

	feedMu sync.Mutex      // orders the first Next and Close
	feed   *feed           // from the first Next on
	fresh  <-chan struct{} // closed when the feed has read from etcd; nil for a watcher that did not ask for that

	last *View // the one that Next returned before, without its Updates; touched by Next only
	seq  uint64
}

// Watch follows a service. It does no I/O and never fails: what is wrong with the name or the registry, Next tells. The
// service need not exist. Close the watcher when it is not needed any more.
func (r *Registry) Watch(service string, opts ...WatchOption) *Watcher {
	w := &Watcher{registry: r, service: service, closed: make(chan struct{})}
	for _, opt := range opts {
		if opt != nil {
			opt(w)
		}
	}
	return w
}

// Next returns the first view as soon as there is one, at once when the service is followed already, and later blocks
// until there is a newer one: an instance joined, changed or left, or the view became stale or fresh again.
//
// When ctx ends first, the error is an [UnreachableError] if there never was a view, else ctx's own; the watcher lives
// on and Next may be called again. After Close, of the watcher or the registry, it is [ErrClosed].
func (w *Watcher) Next(ctx context.Context) (*View, error) {
	v, err := w.next(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", w.service, err)
	}
	return v, nil
}

func (w *Watcher) next(ctx context.Context) (*View, error) {
	f, fresh, err := w.begin()
	if err != nil {
		return nil, err
	}
	if fresh != nil {
		if err := w.wait(ctx, f, fresh); err != nil {
			return nil, err
		}
	}
	for {
		if w.isClosed() {
			return nil, ErrClosed
		}
		if ctx.Err() != nil {
			return nil, w.endOf(ctx, f)
		}
		v, seq, changed := f.newer(w.seq, w.last)
		if v != nil {
			last := *v
			last.Updates = nil
			w.last, w.seq = &last, seq
			return v, nil
		}
		if err := w.wait(ctx, f, changed); err != nil {
			return nil, err
		}
	}
}

// begin joins the feed of the service, once.
func (w *Watcher) begin() (f *feed, fresh <-chan struct{}, err error) {
	w.feedMu.Lock()
	defer w.feedMu.Unlock()
	if w.isClosed() {
		return nil, nil, ErrClosed
	}
	if w.feed == nil {
		if err := w.registry.check(w.service); err != nil {
			return nil, nil, err
		}
		if w.feed, err = w.registry.acquire(w.service); err != nil {
			return nil, nil, err
		}
		w.began = time.Now()
	}
	if w.linearizable && w.fresh == nil {
		w.fresh = w.feed.follower.Refresh()
	}
	return w.feed, w.fresh, nil
}

// wait waits for a channel, ctx, or the end of the watcher.
func (w *Watcher) wait(ctx context.Context, f *feed, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-w.closed:
		return ErrClosed
	case <-w.registry.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return w.endOf(ctx, f)
	}
}

// endOf returns why a Next ends whose context did.
func (w *Watcher) endOf(ctx context.Context, f *feed) error {
	if w.last == nil {
		return w.registry.unreachable(w.began, f.lastErr(), context.Cause(ctx))
	}
	return context.Cause(ctx)
}

func (w *Watcher) isClosed() bool {
	select {
	case <-w.closed:
		return true
	case <-w.registry.ctx.Done():
		return true
	default:
		return false
	}
}

// Views returns an iterator over the views that Next would return. It ends with ctx, with Close, or when the loop is
// left; only an end that was not asked for, by ctx or by leaving the loop, yields an error, as the last pair.
func (w *Watcher) Views(ctx context.Context) iter.Seq2[*View, error] {
	return func(yield func(*View, error) bool) {
		for {
			v, err := w.Next(ctx)
			if err != nil {
				if ctx.Err() == nil {
					yield(nil, err)
				}
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Close ends the watcher: Next, also one that blocks now, returns [ErrClosed]. It is idempotent.
func (w *Watcher) Close() {
	w.closeOnce.Do(func() {
		close(w.closed)
		w.feedMu.Lock()
		defer w.feedMu.Unlock()
		if w.feed != nil {
			w.registry.release(w.feed)
		}
	})
}

// acquire returns the feed of a service for one more watcher, and begins to follow it if nobody does.
func (r *Registry) acquire(service string) (*feed, error) {
	if all := r.everything(); all != nil {
		return all.feed(service, true)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, ErrClosed
	}
	r.startLocked()
	f := r.feeds[service]
	if f == nil {
		f = newFeed(service, r.layout.dir(service), r.settings)
		seed := f.recall(r.snapshots)
		var ctx context.Context
		ctx, f.cancel = context.WithCancel(r.ctx)
		f.follower = r.engine.follow(ctx, f, seed)
		r.feeds[service] = f
	}
	f.users++
	if f.idle != nil {
		f.idle.Stop()
		f.idle = nil
	}
	return f, nil
}

// startLocked has run what following takes.
func (r *Registry) startLocked() {
	if r.started {
		return
	}
	r.started = true
	r.engine.start()
	if r.snapshots != nil {
		r.wg.Go(func() { r.keepSnapshots(r.ctx) })
	}
}

// release gives a feed back. It is followed a little longer, for whoever comes next.
func (r *Registry) release(f *feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.users--
	switch {
	case f.users > 0 || r.ctx.Err() != nil:
		return
	case r.everything() != nil:
		if f.barren() {
			f.idle.Reset(linger) // anybody may watch any name: one that nobody registers is soon forgotten
		}
		return
	}
	f.idle = time.AfterFunc(linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if f.users == 0 && r.feeds[f.service] == f {
			delete(r.feeds, f.service)
			f.end()
		}
	})
}

// end stops following.
func (f *feed) end() {
	if f.cancel != nil {
		f.cancel()
	}
	if f.idle != nil {
		f.idle.Stop()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	if f.settle != nil {
		f.settle.Stop()
	}
}
