// Package lease keeps keys alive in etcd: it grants leases, renews them, writes keys under them, puts back what is lost,
// and takes away what is no longer wanted. It knows keys and bytes; who wrote a value its owner function tells.
//
// How it works. A [Keeper] has a few leases, one per TTL, each tended by one goroutine (grant, heartbeat, grant again).
// Every key ever written under a lease is an entry on that lease's books, wanted or not, until the lease ends: a write
// that timed out may still arrive. A handful of writers take entries whose state in etcd is not the wanted one and
// write them, many in one transaction, one write at a time per key. Every write is conditional on the revision of the
// key that was last known, so that nothing of a stranger's is overwritten; what an ambiguous error left behind is read
// back before anything else is tried.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// Why a hold ended, or a call was refused.
var (
	ErrReplaced = errors.New("replaced by another registration of the same id")
	ErrClosed   = errors.New("closed")
	ErrReleased = errors.New("deregistered")
	ErrDetached = errors.New("detached")
	ErrAbsent   = errors.New("the key to be resumed is not there")
)

// ErrMoved is an ErrReplaced: the registration goes on, kept by somebody else.
var ErrMoved = fmt.Errorf("resumed elsewhere: %w", ErrReplaced)

// ErrPending is what a call returns whose context ended before etcd had confirmed what it asked for.
var ErrPending = errors.New("not confirmed by etcd")

const (
	maxKeys  = 1000 // on one lease: revoking it is one revision and one message to every watcher
	maxBatch = 125  // writes in one transaction; etcd's limit is 128

	// maxBatchBytes keeps a transaction below etcd's limit of 1.5 MiB on a request.
	maxBatchBytes = 1 << 20

	writers      = 4 // transactions in flight
	writeTimeout = 3 * time.Second
	closeTimeout = 3 * time.Second // of each half of Close when its context has no deadline: the goodbyes, the revocations
)

// Config is what a keeper needs.
type Config struct {
	Line   *wire.Line // for all that the keeper does
	Holder string     // what Owner returns as the holder for values of this keeper

	// Owner tells who wrote a value.
	Owner func(value []byte) Owner

	// Fleet estimates how many instances there are, these included: after an outage they all come at once.
	Fleet  func() int
	Logger *slog.Logger

	// Healed is told of each held key that etcd has again, and since when it had it not. It is called with a lock held, and must not block
	// nor call the keeper. Nil: nobody is told.
	Healed func(key string, since time.Time)
}

// Owner is who wrote a value: a registration, through a keeper, under a lease of some TTL. The zero Owner is nobody.
type Owner struct {
	Incarnation, Holder string
	TTL                 time.Duration
}

// Keeper keeps keys. All methods may be called concurrently.
type Keeper struct {
	Config

	ctx    context.Context // ends in Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	last   context.Context // of revocations: ends with Close
	giveUp context.CancelFunc

	// Of the keeper's own keys. They are on the heartbeats' connection: the watchdog of each heartbeat is theirs too.
	watches *wire.Watches

	mu      sync.Mutex // never held across I/O
	work    sync.Cond  // on mu: an entry became dirty, a lease came alive, or the keeper stopped
	started bool       // the writers and the watches run
	closing bool       // no new holds; goodbyes only
	stopped bool       // the writers end
	entries map[string]*entry
	leases  []*lease // all that have not ended
	reach   reach

	failures int       // transactions in a row that were not answered
	resume   time.Time // no transaction before

	at     wire.Header // the newest proof of where etcd is
	epoch  int         // counts the breaks of etcd's history
	term   uint64      // in which etcd last answered a transaction
	lost   int64       // leases that ended while something was held on them, and were granted anew
	census census
}

// New returns a keeper; it does nothing before the first Hold.
func New(cfg Config) *Keeper {
	k := &Keeper{Config: cfg, entries: map[string]*entry{}, watches: wire.NewWatches(cfg.Line)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.last, k.giveUp = context.WithCancel(context.Background())
	k.work.L = &k.mu
	return k
}

// Spec is a key to be held.
type Spec struct {
	Key         string
	TTL         int64  // seconds
	Incarnation string // what Owner returns for Value
	Value       []byte
	Farewell    []byte // written over Value just before the key is deleted

	// Resume takes over nothing but a key of the same incarnation, whoever holds it: not one that is absent (ErrAbsent), nor
	// another's (ErrReplaced).
	Resume bool
}

// Hold writes a key under a lease of the wanted TTL and keeps it there. It returns when etcd has confirmed the write.
// When ctx ends before, or etcd refuses, it returns an error and the key is unwanted: should the write have reached etcd
// nevertheless, it is taken back.
//
// A key held by this keeper already passes to the new hold: the former one ends with ErrReplaced when etcd has confirmed
// the write, and has its key back when that fails.
func (k *Keeper) Hold(ctx context.Context, spec Spec) (*Hold, error) {
	h := &Hold{k: k, incarnation: spec.Incarnation, resumes: spec.Resume, done: make(chan struct{})}
	if err := k.admit(ctx, spec, h); err != nil {
		return nil, err
	}
	err := h.Await(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	close(h.e.pending)
	h.e.pending = nil
	if err != nil {
		k.withdrawLocked(h, err)
		return nil, err
	}
	if h.resumes {
		h.endFormerLocked(ErrMoved)
	}
	h.endFormerLocked(ErrReplaced)
	return h, nil
}

// admit puts a key on the books of a lease and wants it. Of holds that want the same key one after another waits here
// until the one before it has it, or has given up.
func (k *Keeper) admit(ctx context.Context, spec Spec, h *Hold) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		e := k.entries[spec.Key]
		switch {
		case k.closing:
			return ErrClosed
		case e == nil || e.pending == nil:
			k.startLocked()
			k.admitLocked(spec, h)
			return nil
		}
		if err := k.waitLocked(ctx, e.pending); err != nil {
			return err
		}
	}
}

// waitLocked waits for a channel without the lock.
func (k *Keeper) waitLocked(ctx context.Context, ready <-chan struct{}) error {
	k.mu.Unlock()
	defer k.mu.Lock()
	select {
	case <-ready:
		return nil
	case <-k.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrPending, context.Cause(ctx))
	}
}

// startLocked starts what runs as long as the keeper.
func (k *Keeper) startLocked() {
	if k.started {
		return
	}
	k.started = true
	k.wg.Go(func() { k.watches.Run(k.ctx) })
	for range writers {
		k.wg.Go(k.writeLoop)
	}
}

func (k *Keeper) admitLocked(spec Spec, h *Hold) {
	e := k.entries[spec.Key]
	if e == nil {
		// A guess, for one round trip less: the key is absent. Nothing but a conditional write is built on it.
		e = &entry{key: spec.Key, known: true, progress: make(chan struct{})}
		k.entries[spec.Key] = e
	}
	h.e, e.pending = e, make(chan struct{})
	if e.hold != nil {
		h.former = &former{hold: e.hold, ttl: e.lease.ttl, value: e.value, farewell: e.farewell}
		e.lease.wanted--
	}
	k.giveLocked(e, h, spec.TTL, spec.Value, spec.Farewell)
}

// giveLocked makes a hold the one that wants an entry.
func (k *Keeper) giveLocked(e *entry, h *Hold, ttl int64, value, farewell []byte) {
	e.hold = h
	e.first, e.replaces, e.wrote, e.moved, e.detached = true, "", 0, 0, false
	e.refusal, e.refused, e.farewellDone = nil, 0, false
	e.settleContest()
	e.want(value, farewell)
	k.assignLocked(e, ttl, false)
	k.dirtyLocked(e)
}

// withdrawLocked ends a hold whose first write was not confirmed. The key goes back to the former hold, if there is one.
func (k *Keeper) withdrawLocked(h *Hold, why error) {
	e, f := h.e, h.former
	switch {
	case h.err != nil:
	case f == nil:
		k.unwantLocked(e, why)
	default:
		h.former = nil
		h.endLocked(why)
		e.lease.wanted--
		k.giveLocked(e, f.hold, f.ttl, f.value, f.farewell)
		e.first = false // it takes over nothing but what is ours
	}
}

// unwantLocked ends the hold on an entry; the entry stays on the books, to be cleaned away.
func (k *Keeper) unwantLocked(e *entry, why error) {
	e.hold.endLocked(why)
	e.hold.endFormerLocked(why)
	e.hold, e.refusal = nil, nil
	e.lease.wanted--
	switch {
	case e.known && e.rev == 0 && !e.busy && e.refs == 1:
		k.forgetLocked(e) // nothing was ever written
	case e.lease.state != alive:
		k.rebookLocked(e) // to clean away needs no lease that may never be granted
		k.dirtyLocked(e)
	default:
		k.dirtyLocked(e)
	}
	k.retireLocked(e.lease)
}

// dirtyLocked sees that a writer looks at the entry.
func (k *Keeper) dirtyLocked(e *entry) {
	if e.busy || e.queued {
		return // it is looked at when its write is done, or soon
	}
	e.queued = true
	e.lease.dirty = append(e.lease.dirty, e)
	k.work.Signal()
}

// forgetLocked strikes an entry off all books.
func (k *Keeper) forgetLocked(e *entry) {
	for _, l := range k.leases {
		delete(l.books, e.key)
	}
	e.refs = 0
	if k.entries[e.key] == e {
		delete(k.entries, e.key)
	}
	k.unwatchLocked(e)
	e.settleContest()
	if e.rewatch != nil {
		e.rewatch.Stop()
	}
	e.signal()
}

// Close says goodbye for every key, revokes the leases, and ends everything the keeper does. When ctx ends, or after a
// few seconds without an answer, it returns what is left undone as an error; what then remains in etcd ends with its TTL.
func (k *Keeper) Close(ctx context.Context) error {
	k.mu.Lock()
	if k.closing {
		k.mu.Unlock()
		k.wg.Wait()
		return nil
	}
	k.closing = true
	for _, e := range k.entries {
		if e.hold != nil {
			k.unwantLocked(e, ErrClosed)
		}
	}
	k.mu.Unlock()

	goodbyes, cancel := context.WithTimeout(ctx, closeTimeout)
	k.awaitGoodbyes(goodbyes)
	cancel()

	k.mu.Lock()
	k.stopped = true
	k.work.Broadcast()
	k.mu.Unlock()
	k.cancel() // ends grants, heartbeats and writes; what a write in flight still does, the revocations undo

	ctx, cancel = context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, k.giveUp)
	k.wg.Wait() // for revocations that are under way, among others
	err := k.revokeAll()
	stop()
	k.giveUp()
	k.forgetAll()
	return err
}

// awaitGoodbyes waits until no key of ours is without its goodbye.
func (k *Keeper) awaitGoodbyes(ctx context.Context) {
	for {
		k.mu.Lock()
		var waitFor chan struct{}
		for _, e := range k.entries {
			if e.busy || e.queued {
				waitFor = e.progress
				break
			}
		}
		k.mu.Unlock()
		if waitFor == nil {
			return
		}
		select {
		case <-waitFor:
		case <-ctx.Done():
			return
		}
	}
}

// revokeAll revokes the leases that are left. Nothing else of the keeper runs any more.
func (k *Keeper) revokeAll() error {
	errs := make([]error, len(k.leases))
	var wg sync.WaitGroup
	for n, l := range k.leases {
		wg.Go(func() { errs[n] = k.revoke(k.last, l) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (k *Keeper) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.entries {
		k.forgetLocked(e)
	}
	k.leases = nil
}
