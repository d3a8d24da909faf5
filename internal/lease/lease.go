package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/rollcall-io/rollcall/internal/wire"
	"github.com/rollcall-io/rollcall/internal/without"
)

type state uint8

const (
	granting state = iota
	alive
	ended // lost, retired or closed
)

// lease is one lease and its books. The keeper's mu guards the fields; ttl and id never change.
type lease struct {
	ttl int64 // seconds
	id  int64 // chosen by us, so that a grant whose answer was lost can be repeated and revoked

	state    state
	tried    bool // a grant was sent
	full     bool // takes no more entries: everything on it moves, or is to
	spread   bool // granted after a while, with others of the fleet
	detached bool // a key on it is to outlive us: it runs out, and is not revoked
	apart    bool // for keys that etcd has refused: one of them could stop the renewal of all
	books    map[string]*entry
	wanted   int      // entries with a hold whose lease this is
	dirty    []*entry // entries to look at, in order
	granted  time.Time
	beaten   time.Time // last confirmed heartbeat
	term     uint64    // since which no leader before can have it in its books; 0: not known yet

	over chan struct{} // closed when state becomes ended
}

func newLease(ttl int64, apart bool) *lease {
	return &lease{ttl: ttl, apart: apart, id: rand.Int64N(1<<62) + 1, books: map[string]*entry{}, over: make(chan struct{})}
}

// assignLocked puts a wanted entry on the books of a lease with the wanted TTL, a new one if need be.
func (k *Keeper) assignLocked(e *entry, ttl int64, apart bool) {
	l := e.lease
	if l == nil || l.ttl != ttl || l.apart != apart || l.full || l.state == ended {
		l = k.leaseLocked(ttl, apart)
	}
	k.enterLocked(e, l)
	l.wanted++
}

// enterLocked writes an entry into a lease's books and makes it the one that the entry is written under.
func (k *Keeper) enterLocked(e *entry, l *lease) {
	if l.books[e.key] == nil {
		l.books[e.key] = e
		e.refs++
	}
	if e.lease != l {
		e.lease, e.queued = l, false
	}
}

// leaseOf returns the lease of an id that has not ended, as far as is known; nil when there is none.
func (k *Keeper) leaseOf(id int64) *lease {
	for _, l := range k.leases {
		if l.id == id && l.state != ended {
			return l
		}
	}
	return nil
}

func (k *Keeper) leaseLocked(ttl int64, apart bool) *lease {
	for _, l := range k.leases {
		if l.ttl == ttl && l.apart == apart && !l.full && l.state != ended && len(l.books) < maxKeys {
			return l
		}
	}
	return k.addLocked(newLease(ttl, apart))
}

// addLocked takes on a new lease, with a goroutine that tends it.
func (k *Keeper) addLocked(l *lease) *lease {
	k.leases = append(k.leases, l)
	k.wg.Go(func() { k.tend(l) })
	return l
}

// setApartLocked moves a key that etcd refuses for want of permission to a lease where it can do no harm, for when it is
// permitted again: no lease can be renewed that has a key on it which we may not write.
func (k *Keeper) setApartLocked(e *entry, err error) {
	if e.hold == nil || e.pending != nil || e.lease.apart || k.closing ||
		!errors.Is(wire.EtcdError(err), rpctypes.ErrPermissionDenied) {
		return
	}
	from := e.lease
	from.wanted--
	k.assignLocked(e, from.ttl, true)
	k.retireLocked(from)
}

// tend gives a lease its life: grant, heartbeats; when etcd says that it is gone, a new one in its place, without end.
func (k *Keeper) tend(l *lease) {
	if l.spread {
		k.stagger(l)
	}
	for l != nil && k.grant(l) {
		if !k.beat(l) || without.Regrant {
			break
		}
		l = k.succeed(l)
		k.stagger(l)
	}
	if l != nil {
		k.lay(l)
	}
}

// grant tries until etcd has granted the lease; false when it is not needed any more.
func (k *Keeper) grant(l *lease) bool {
	for attempt := 0; ; attempt++ {
		var err error
		if !k.over(l) {
			err = k.tryGrant(l)
		}
		k.mu.Lock()
		if l.state == ended || k.ctx.Err() != nil {
			k.mu.Unlock()
			return false
		}
		if err == nil {
			l.state, l.granted = alive, time.Now()
			k.work.Broadcast()
			k.mu.Unlock()
			k.Logger.Debug("lease granted", "lease", l.id, "ttl", l.ttl)
			return true
		}
		pause := wire.Backoff(attempt)
		if !wire.IsRefusal(err) {
			k.missedLocked(err)
		} else {
			pause = refusalPause
			k.refusedByLocked(fmt.Errorf("grant a lease: %w", err))
			for _, e := range l.books {
				e.refusal = fmt.Errorf("grant a lease: %w", err)
				e.signal()
			}
		}
		k.mu.Unlock()
		if without.Retry && wire.IsRefusal(err) {
			return false
		}
		select {
		case <-time.After(pause):
		case <-l.over:
		case <-k.ctx.Done():
		}
	}
}

// over reports whether a lease is not needed any more.
func (k *Keeper) over(l *lease) bool {
	select {
	case <-l.over:
		return true
	case <-k.ctx.Done():
		return true
	default:
		return false
	}
}

func (k *Keeper) tryGrant(l *lease) error {
	conn, err := k.Line.Conn()
	if err != nil {
		return err
	}
	k.mu.Lock()
	l.tried = true
	held := k.at
	k.mu.Unlock()
	ctx, cancel := conn.Call(k.ctx, writeLimit())
	defer cancel()
	granted, err := pb.NewLeaseClient(conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: l.ttl, ID: l.id})
	if errors.Is(wire.EtcdError(err), rpctypes.ErrLeaseExist) {
		return nil // an earlier try got through
	}
	if err != nil {
		if !wire.IsRefusal(err) && k.ctx.Err() == nil {
			k.Line.DropAfter(conn, err)
		}
		return fmt.Errorf("%s: %w", conn.Endpoint, err)
	}
	conn.Heard()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reachedLocked()
	k.atLocked(wire.HeaderOf(granted.GetHeader()), held)
	k.grantedLocked(l, granted.GetHeader().GetRaftTerm())
	return nil
}

// maxRate is how many instances a second may register again after an outage, all processes together.
const maxRate = 1000

// stagger waits a little before a lost lease is granted again when the others of the fleet have lost theirs too: when
// etcd has just come back, or its history broke.
func (k *Keeper) stagger(l *lease) {
	if l == nil || without.Spread {
		return
	}
	fleet := k.Fleet() // not with the lock held: it asks others
	k.mu.Lock()
	for _, l := range k.leases {
		fleet = max(fleet, l.wanted)
	}
	ttl := time.Duration(l.ttl) * time.Second
	alone := k.reach.back.IsZero() || time.Since(k.reach.back) > ttl
	k.mu.Unlock()
	if spread := min(ttl, time.Duration(fleet)*time.Second/maxRate); !alone && spread > 0 {
		select {
		case <-time.After(rand.N(spread)):
		case <-l.over:
		case <-k.ctx.Done():
		}
	}
}

// loseLocked notes that etcd does not know the lease any more. Its tender does the rest.
func (l *lease) loseLocked() {
	if l.state != ended {
		l.state = ended
		close(l.over)
	}
}

// succeed puts a new lease in the place of a lost one. What was wanted under the old one is written again under the new
// one; what was not is gone with it. It returns nil when nothing is left to keep.
func (k *Keeper) succeed(old *lease) *lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	old.loseLocked()
	k.strikeLocked(old)
	next, fresh := k.successorLocked(old)
	for _, e := range old.books {
		e.refs--
		e.note(k)
		if e.lease != old {
			continue // it is kept under another one by now
		}
		if e.hold == nil {
			k.orphanLocked(e)
			continue
		}
		k.unwatchLocked(e) // begun anew from the revision of the new write: etcd's history may have broken
		k.enterLocked(e, next)
		next.wanted++
		if !e.busy {
			// The guess that the key went with its lease; not if it may lie under another one.
			e.known, e.now, e.rev = e.refs == 1, content{}, 0
			e.note(k)
			k.dirtyLocked(e)
		}
	}
	if next.wanted == 0 || !fresh {
		return nil
	}
	k.lost++
	k.Logger.Info("lease lost, registering again", "lease", old.id, "registrations", next.wanted)
	k.leases = append(k.leases, next)
	return next
}

// successorLocked returns the lease that takes over what a lost one kept: one that a Register asked for meanwhile, if
// there is room on it, or a fresh one.
func (k *Keeper) successorLocked(old *lease) (next *lease, fresh bool) {
	for _, l := range k.leases {
		if l.ttl == old.ttl && l.apart == old.apart && !l.full && l.state != ended && len(l.books)+len(old.books) <= maxKeys {
			return l, false
		}
	}
	return newLease(old.ttl, old.apart), true
}

// orphanLocked finds an unwanted entry whose lease ended another lease whose books it is on, or forgets it: nothing
// written under a lease that ended can appear any more.
func (k *Keeper) orphanLocked(e *entry) {
	if !k.rebookLocked(e) {
		k.forgetLocked(e)
		return
	}
	e.known = false
	k.dirtyLocked(e)
}

// rebookLocked makes a living lease whose books an entry is on already the one that it is worked on under.
func (k *Keeper) rebookLocked(e *entry) bool {
	for _, l := range k.leases {
		if l.books[e.key] == e && l.state == alive {
			k.enterLocked(e, l)
			return true
		}
	}
	return false
}

// strikeLocked removes a lease from the list.
func (k *Keeper) strikeLocked(l *lease) {
	for n := range k.leases {
		if k.leases[n] == l {
			k.leases = append(k.leases[:n:n], k.leases[n+1:]...)
			return
		}
	}
}

// retireLocked ends a lease on which nothing is wanted and nothing is left to do. Its tender revokes it, which fences
// off whatever may still be under way.
func (k *Keeper) retireLocked(l *lease) {
	if k.closing || l.state == ended || l.wanted > 0 {
		return
	}
	for _, e := range l.books {
		if !e.settled(k) { // also one that moves to another lease: until it is written there, this one holds its key
			return
		}
	}
	l.loseLocked()
}

// lay puts a lease to rest that is not needed any more: its keys are gone, what may come late is fenced off.
func (k *Keeper) lay(l *lease) {
	k.mu.Lock()
	l.loseLocked()
	for _, e := range l.books {
		e.refs--
		if e.lease == l {
			k.orphanLocked(e)
		}
	}
	closing := k.closing
	k.mu.Unlock()
	if closing {
		return // Close revokes what is left
	}
	ctx, cancel := context.WithTimeout(k.last, time.Duration(l.ttl)*time.Second)
	defer cancel()
	err := k.revoke(ctx, l)
	if err != nil {
		k.Logger.Debug("lease not revoked, it ends by its TTL", "lease", l.id, "err", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil || !k.closing {
		k.strikeLocked(l)
	}
}

// revoke ends a lease in etcd, with every key under it: until it is done or ctx ends. Of a lease that was never
// confirmed to be granted there is hardly anything to revoke: one try is enough.
func (k *Keeper) revoke(ctx context.Context, l *lease) error {
	k.mu.Lock()
	tried, sure := l.tried && !l.detached, !l.granted.IsZero()
	k.mu.Unlock()
	for attempt := 0; tried; attempt++ {
		err := k.tryRevoke(ctx, l)
		if err == nil || errors.Is(wire.EtcdError(err), rpctypes.ErrLeaseNotFound) || !sure {
			return nil
		}
		if wire.IsRefusal(err) || !wire.Sleep(ctx, wire.Backoff(attempt)) {
			return fmt.Errorf("revoke lease %d: %w", l.id, err)
		}
	}
	return nil
}

func (k *Keeper) tryRevoke(ctx context.Context, l *lease) error {
	conn, err := k.Line.Conn()
	if err != nil {
		return err
	}
	call, cancel := conn.Call(ctx, closeTimeout/3) // two members may hang, and the third still has its time
	defer cancel()
	_, err = pb.NewLeaseClient(conn).LeaseRevoke(call, &pb.LeaseRevokeRequest{ID: l.id})
	gone := errors.Is(wire.EtcdError(err), rpctypes.ErrLeaseNotFound)
	if err != nil && !gone && !wire.IsRefusal(err) && !errors.Is(ctx.Err(), context.Canceled) {
		k.Line.DropAfter(conn, err) // the connection is at fault, not somebody who gave up: others may be using it
	}
	return err
}
