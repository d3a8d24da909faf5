// Package follow keeps up with everything under a prefix in etcd: it lists, watches from the list's revision, and
// heals compaction, cancellation and lost connections by listing again and telling only the difference. It knows keys
// and bytes; what they mean is its sink's business.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
	"github.com/rollcall-io/rollcall/internal/without"
)

// createTimeout is how long a watch may take until the server has accepted it.
const createTimeout = 4 * time.Second

// Change is what became of one key.
type Change struct {
	Key     string
	Value   []byte // nil when Deleted, or when it was Read
	Read    any    // what the sink made of the value of a list
	Deleted bool

	Revision       int64 // of the write; of the list that found the key gone
	CreateRevision int64
	Lease          int64
}

// Batch is what changed up to a revision: whole revisions, in order.
type Batch struct {
	Header   // where etcd is; its Revision is of the newest change
	Changes  []Change
	Relisted bool // found by listing: what happened in between, such as a goodbye before a delete, is not in it
	Reset    bool // etcd's revision went back: its history broke
}

// Sink takes what a follower finds out. Its methods are called one at a time and must not block.
type Sink interface {
	// Read makes of a listed value what Apply shall get instead. It is called for one key after another while the rest
	// of the list is on its way, beside the other methods.
	Read(key string, value []byte) any
	Apply(Batch)
	// Fresh says that what was applied is current, Stale that etcd is out of reach, and why.
	Fresh()
	Stale(since time.Time, err error)
}

// Follower follows one prefix. Make it with New, then Run it.
type Follower struct {
	source *Source
	prefix string
	sink   Sink
	logger *slog.Logger

	poke chan struct{} // one token: somebody waits for a list

	mu         sync.Mutex       // held while the sink is called
	known      map[string]int64 // key → revision of its last write
	sum        sum              // of known
	at         Header           // of the last list
	revision   int64            // up to which known is complete
	lists      int              // counts those applied
	listed     bool             // what is known comes from etcd, not from a seed alone
	epoch      int              // of etcd's history that what is known is of
	needed     int              // the epoch that the next list must be of, at least
	diverged   bool             // what is known was found to be wrong: no history is to be judged by it
	forbidden  bool             // etcd refused the last list
	staleSince time.Time
	waiting    []chan struct{} // closed after the next list that begins
	watching   *handler        // of the watch that etcd has accepted; nil while there is none
}

// Seed is what a follower knows before its first list, from an earlier life.
type Seed struct {
	At    Header
	Known map[string]int64 // key → revision of its last write
}

// New returns a follower; it does nothing before Run. Its first list tells what is different from the seed.
func (s *Source) New(prefix string, sink Sink, seed Seed) *Follower {
	if seed.Known == nil {
		seed.Known = map[string]int64{}
	}
	return &Follower{
		source: s, prefix: prefix, sink: sink, logger: s.logger.With("prefix", prefix),
		poke: make(chan struct{}, 1), known: seed.Known, at: seed.At, revision: seed.At.Revision,
	}
}

// Run follows until ctx ends. A watch that breaks makes nothing stale by itself: only when the list that heals it fails
// too is etcd out of reach, since the watch broke.
func (f *Follower) Run(ctx context.Context) {
	f.source.add(f)
	defer f.source.remove(f)
	var troubled time.Time // since when; zero while all is well
	for attempt, refusals := 0, 0; ctx.Err() == nil; attempt++ {
		pause := wire.Backoff(attempt)
		slow := f.staleIfSlow(troubled)
		var err error
		if !without.Relist || !f.listed {
			err = f.list(ctx)
		}
		slow.Stop()
		if err == nil {
			refusals = 0
			troubled = time.Time{}
			began := time.Now()
			err = f.watch(ctx)
			if errors.Is(err, errAsked) || ctx.Err() != nil {
				attempt = -1
				continue
			}
			f.logger.Debug("watch ended, listing again", "revision", f.revision, "err", err)
			if time.Since(began) > 10*time.Second {
				attempt, pause = 0, wire.Backoff(0) // it went well: what comes now is the first trouble
			}
			troubled = time.Now()
		} else if ctx.Err() == nil {
			if troubled.IsZero() {
				troubled = time.Now()
			}
			f.stale(troubled, err)
			if wire.IsRefusal(err) {
				pause = wire.RefusalBackoff(refusals)
				refusals++
				f.forbid()
			}
		}
		if !wire.Sleep(ctx, pause) {
			return
		}
	}
}

// errAsked ends a watch because somebody wants a fresh list.
var errAsked = errors.New("a list was asked for")

// Refresh asks for a list that begins after the call. The channel is closed when its outcome was applied.
func (f *Follower) Refresh() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pokeLocked()
	if n := len(f.waiting); n > 0 {
		return f.waiting[n-1] // of the same list
	}
	done := make(chan struct{})
	f.waiting = append(f.waiting, done)
	return done
}

// slowList is how long a list may take before what was known is stale: no watch is open meanwhile.
const slowList = 5 * time.Second

var errSlowList = errors.New("etcd takes long to list")

// staleIfSlow says so when the list that begins takes long.
func (f *Follower) staleIfSlow(since time.Time) *time.Timer {
	if since.IsZero() {
		since = time.Now()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	lists := f.lists
	return time.AfterFunc(slowList, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.lists == lists {
			f.staleLocked(since, errSlowList)
		}
	})
}

// forbid takes the follower out of the probes until it has listed again.
func (f *Follower) forbid() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forbidden = true
}

// position returns where in etcd's history the follower is, and in which epoch of it; the zero Header before its first list.
func (f *Follower) position() (Header, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.at
	h.Revision = f.revision
	if !f.listed || f.forbidden {
		return Header{}, f.epoch
	}
	return h, f.epoch
}

// lost tells the follower which epoch etcd's history is in. If it knows an earlier one it reads everything again: etcd was
// wiped, or restored.
func (f *Follower) lost(epoch int, now Header) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if epoch <= max(f.epoch, f.needed) {
		return
	}
	f.logger.Warn("etcd's history broke, reading everything again", "revision", now.Revision, "held", f.revision)
	f.needed = epoch
	f.pokeLocked()
}

// doubt makes the follower list again: it is to find out itself whether it may.
func (f *Follower) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pokeLocked()
}

// Reach waits until the sink has everything up to a revision, and reports whether it has; it gives up after a while, or when ctx ends.
func (f *Follower) Reach(ctx context.Context, revision int64) bool {
	reached, by := f.reached(revision)
	if reached {
		return true
	}
	if by == nil { // it lists, or cannot
		wire.Sleep(ctx, lagTimeout/20)
		reached, _ = f.reached(revision)
		return reached
	}
	if !f.source.watches.Reach(ctx, revision, lagTimeout) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.watching == by // else a watch that has ended may be the one that has reached it
}

// reached reports whether a change of a revision, or a later one, was applied, and which watch tells of further ones.
func (f *Follower) reached(revision int64) (bool, *handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listed && f.revision >= revision, f.watching
}

func (f *Follower) pokeLocked() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

func (f *Follower) takeWaiting() (asked []chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.poke:
	default:
	}
	asked = f.waiting
	f.waiting = nil
	return asked
}

func (f *Follower) putBackWaiting(asked []chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, asked...)
}

// watch follows from the list's revision until the watch ends; the error says why.
func (f *Follower) watch(ctx context.Context) error {
	h := &handler{f: f, created: make(chan struct{}), ended: make(chan error, 2), from: f.revision}
	// From the list's own revision, not the next one: etcd reports progress on an idle store only to such a watch.
	// What comes twice is dropped by its revision.
	w := f.source.watches.Add(f.prefix, clientv3.GetPrefixRangeEnd(f.prefix), f.revision, h)
	defer h.close(w)

	timeout := time.NewTimer(createTimeout)
	defer timeout.Stop()
	verify := time.NewTimer(untilVerify())
	defer verify.Stop()
	for created := h.created; ; {
		select {
		case <-verify.C:
			if err := f.verify(ctx); err != nil {
				select {
				case ended := <-h.ended:
					return ended // it has not told everything then
				default:
					return err
				}
			}
			verify.Reset(untilVerify())
		case <-created:
			timeout.Stop()
			created = nil
		case <-timeout.C:
			return errors.New("etcd does not open a watch")
		case err := <-h.ended:
			return err
		case <-f.poke:
			return errAsked
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *Follower) freshLocked() {
	if !f.staleSince.IsZero() {
		f.logger.Info("following again", "revision", f.revision, "after", time.Since(f.staleSince).Round(time.Millisecond))
	}
	f.staleSince = time.Time{}
	f.sink.Fresh()
}

func (f *Follower) stale(since time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.staleLocked(since, err)
}

func (f *Follower) staleLocked(since time.Time, err error) {
	if f.staleSince.IsZero() {
		f.staleSince = since
		f.logger.Warn("cannot follow etcd, keeping what is known", "revision", f.revision, "err", err)
	}
	f.sink.Stale(f.staleSince, err)
}

// handler is one watch of a follower. What a watch says after the follower gave it up is ignored.
type handler struct {
	f       *Follower
	created chan struct{}
	ended   chan error
	from    int64 // the revision to watch from
	closed  bool  // guarded by f.mu
}

func (h *handler) close(w *wire.Watch) {
	w.Cancel()
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.closed = true
	if h.f.watching == h {
		h.f.watching = nil
	}
}

// Created ends a watch that a store further back than the list would keep silent: between list and watch it was wiped or
// restored.
func (h *handler) Created(revision int64) {
	if revision < h.from {
		h.ended <- fmt.Errorf("etcd is at revision %d, after %d", revision, h.from)
		return
	}
	h.f.mu.Lock()
	h.f.watching = h
	h.f.mu.Unlock()
	close(h.created)
}

func (h *handler) Ended(err error) { h.ended <- err }

func (h *handler) Events(events []*mvccpb.Event) {
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.closed {
		return
	}
	batch := Batch{Header: f.at, Changes: make([]Change, 0, len(events))}
	for _, e := range events {
		rev := e.Kv.ModRevision
		if rev <= f.revision {
			continue // the list had it
		}
		batch.Revision = rev
		key := string(e.Kv.Key)
		if old, was := f.known[key]; was {
			f.sum.toggle(key, old)
		}
		if e.Type == mvccpb.Event_DELETE {
			delete(f.known, key)
			batch.Changes = append(batch.Changes, Change{Key: key, Deleted: true, Revision: rev})
			continue
		}
		f.known[key] = rev
		f.sum.toggle(key, rev)
		batch.Changes = append(batch.Changes, Change{Key: key, Value: e.Kv.Value, Revision: rev, CreateRevision: e.Kv.CreateRevision, Lease: e.Kv.Lease})
	}
	if len(batch.Changes) > 0 {
		f.revision = batch.Revision
		f.sink.Apply(batch)
	}
}
