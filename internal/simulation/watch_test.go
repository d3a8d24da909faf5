package simulation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
)

// watch is a registry that only watches, and its readers.
type watch struct {
	w       *world
	tap     *tap
	reg     *rollcall.Registry
	stop    context.CancelFunc
	wg      sync.WaitGroup
	readers []*reader
}

// reader is one watcher, and what it was given. A slow one reads now and then only: what it missed is merged for it.
type reader struct {
	w       *world
	slow    bool
	watcher *rollcall.Watcher

	mu    sync.Mutex
	given []given // and not judged yet
	err   error

	last   given           // judged last
	cursor *cursor         // where the oracle is when it reads what this reader was given
	reset  time.Time       // when it was last told that a history broke
	gone   map[string]bool // what history says was deleted, by somebody or for want of heartbeats, and not written since
}

const slowest = 20 * time.Second // of a slow reader, between two views

// given is a view and when it came.
type given struct {
	*rollcall.View
	at time.Time
}

func (w *world) addWatch() {
	tap := newTap()
	reg, err := rollcall.Open(w.config(tap), w.options...)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.watch = &watch{w: w, tap: tap, reg: reg, stop: stop}
	for n := range w.watchers {
		r := &reader{w: w, slow: n > 0, watcher: reg.Watch(service)}
		rnd := rand.New(rand.NewPCG(w.seed, uint64(n)))
		w.watch.readers = append(w.watch.readers, r)
		w.watch.wg.Go(func() { r.read(ctx, rnd) })
	}
}

// read takes views until the world ends.
func (r *reader) read(ctx context.Context, rnd *rand.Rand) {
	for {
		v, err := r.watcher.Next(ctx)
		r.mu.Lock()
		if err == nil {
			r.given = append(r.given, given{v, time.Now()})
		} else if ctx.Err() == nil {
			r.err = err
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
		if r.slow {
			select {
			case <-time.After(time.Duration(rnd.Int64N(int64(slowest)))):
			case <-ctx.Done():
			}
		}
	}
}

// take returns what came since it was called last.
func (r *reader) take() ([]given, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.given
	r.given = nil
	return got, r.err
}

func (w *watch) close() {
	w.stop()
	w.wg.Wait()
	ctx, cancel := within(time.Minute)
	defer cancel()
	if err := w.reg.Close(ctx); err != nil {
		w.w.fail("clean close", "the watchers' registry: %v", err)
	}
}
