package wire

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

var (
	// ErrBroken ends every watch of a stream that broke: nothing is wrong with the watch, add it again.
	ErrBroken = errors.New("watch stream broke")

	// ErrCompacted ends a watch whose start revision etcd no longer has: list again.
	ErrCompacted = errors.New("revision compacted")

	// ErrRefused ends a watch that etcd will not serve; the text says why.
	ErrRefused = errors.New("watch refused")
)

// Handler is told what happens to a watch. Its methods are called one at a time, on the goroutine that reads the
// stream for everybody: they must not block.
type Handler interface {
	// Created says that the server has accepted the watch, and at which revision its store is. One below the revision
	// to watch from means that nothing will come until the store is there.
	Created(revision int64)
	// Events delivers all events up to a revision, in order, whole revisions at a time.
	Events(events []*mvccpb.Event)
	// Ended is the last call, unless the watch was cancelled. The error is ErrBroken, ErrCompacted or ErrRefused.
	Ended(err error)
}

// Watches holds any number of watches on raw watch streams of our own. Creations are pipelined: etcd's client waits for
// the answer to one before it sends the next, 2,000 a second.
//
// Usually there is one stream. Etcd checks new watches by the token that their stream was opened with: when that has
// died, a fresh stream takes the new ones, and the old one goes on with those that it has.
type Watches struct {
	line *Line

	mu      sync.Mutex
	lastID  int64
	queue   []*Watch      // to be created, in order
	streams []*stream     // open, oldest first; the last one takes new watches unless its token has died
	news    chan struct{} // closed and replaced when a stream got further, or ended
	wake    chan struct{} // holds one token when there may be something to create
}

// Watch is one watch. It ends once: by its owner's Cancel, or by itself, with a call of Ended.
type Watch struct {
	set      *Watches
	id       int64
	key, end string
	rev      int64
	handler  Handler
	sent     time.Time
	on       *stream         // that has created it; guarded by set.mu
	canceled bool            // guarded by set.mu
	again    bool            // it was refused once for the token of its stream
	partial  []*mvccpb.Event // fragments of one response; touched by the reader only
}

// NewWatches returns an empty set. Run must run for anything to happen.
func NewWatches(line *Line) *Watches {
	return &Watches{line: line, news: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// Add watches key, or the range from key to end when end is not "", from a revision on, that revision included.
func (s *Watches) Add(key, end string, rev int64, h Handler) *Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	w := &Watch{set: s, id: s.lastID, key: key, end: end, rev: rev, handler: h}
	s.queue = append(s.queue, w)
	s.pokeLocked()
	return w
}

// Cancel ends the watch. A call of the handler may still be under way, or about to begin, when it returns.
func (w *Watch) Cancel() {
	s := w.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.canceled {
		return
	}
	w.canceled = true
	if st := w.on; st != nil && st.active[w.id] == w {
		delete(st.active, w.id)
		st.cancels = append(st.cancels, w.id)
		st.poke()
	}
}

// pokeLocked wakes whoever creates watches: the stream that takes them, or Run, which opens one.
func (s *Watches) pokeLocked() {
	if n := len(s.streams); n > 0 && !s.streams[n-1].dead {
		s.streams[n-1].poke()
		return
	}
	token(s.wake)
}

// token puts one into a channel that holds one.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// healthy is how long a stream must have lived for its end to be the first trouble, not more of the same.
const healthy = 10 * time.Second

// Run serves the watches until ctx ends. Watches that are left then are dropped without a call.
func (s *Watches) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for attempt := 0; s.waitForWork(ctx); attempt++ {
		opened := time.Now()
		if st, err := s.open(ctx); err == nil {
			wg.Go(func() { st.run(ctx) })
			<-st.replace // by a fresh one; it may go on
		}
		if time.Since(opened) > healthy {
			attempt = 0
		}
		if !Sleep(ctx, Backoff(attempt)) {
			return
		}
	}
}

// waitForWork waits until a watch is to be created and no stream is there to do it.
func (s *Watches) waitForWork(ctx context.Context) bool {
	for ctx.Err() == nil {
		s.mu.Lock()
		work := len(s.queue) > 0
		s.mu.Unlock()
		if work {
			return true
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	return false
}

// end tells watches that they have ended, except those that were cancelled.
func end(watches []*Watch, err error) {
	for _, w := range watches {
		w.set.mu.Lock()
		canceled := w.canceled
		w.set.mu.Unlock()
		if !canceled {
			w.handler.Ended(err)
		}
	}
}

func (s *Watches) newsLocked() {
	close(s.news)
	s.news = make(chan struct{})
}

// Reach asks etcd how far the watches are, and reports whether all that exist have delivered everything up to a revision,
// or have ended, within the limit.
func (s *Watches) Reach(ctx context.Context, revision int64, limit time.Duration) bool {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	again := time.NewTicker(limit / 10) // etcd does not answer while one of the watches catches up
	defer again.Stop()
	for {
		behind, news := s.behind(revision)
		if !behind {
			return true
		}
		select {
		case <-news:
		case <-again.C:
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// behind reports whether a stream has not reached a revision, and asks those that have not.
func (s *Watches) behind(revision int64) (behind bool, news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		if len(st.active) > 0 && st.reached < revision {
			behind, st.ask = true, true
			st.poke()
		}
	}
	return behind, s.news
}

func (s *Watches) removeLocked(st *stream) {
	s.streams = slices.DeleteFunc(s.streams, func(o *stream) bool { return o == st })
	s.newsLocked()
	if len(s.queue) > 0 {
		s.pokeLocked()
	}
}
