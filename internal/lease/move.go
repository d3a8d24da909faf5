package lease

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// When a new leader is elected because the old one hangs, the leases stay in the old one's books, where nobody renews them.
// If it goes on after they have run out there, it may revoke them all: etcd (up to 3.7.3 at least) does not look whether it
// still leads when its clock has just ticked, and the new leader carries out what it asks for. It knows nothing of leases
// granted since. So when the term has changed and a member is silent, everything moves to fresh leases.

const (
	signTimeout  = 500 * time.Millisecond // of the search for a silent member
	censusPeriod = 2 * time.Second        // between two searches, at least
)

// census is what the keeper knows about leaders.
type census struct {
	term   uint64    // the newest seen
	silent time.Time // when a member was last found to neither answer nor refuse
	taken  time.Time // when they were last asked
	busy   bool      // they are being asked
}

// grantedLocked notes the term in which a lease was granted. It may be lower than the newest seen when history broke.
func (k *Keeper) grantedLocked(l *lease, term uint64) {
	l.term, k.census.term = term, term
}

// beginAnewLocked is told that etcd's history broke, and in which term that was found. The leader of the new one has given
// every lease its full time. A lease that was restored may have keys on it that have said goodbye since: what is wanted
// moves, and the rest goes with the lease.
func (k *Keeper) beginAnewLocked(term uint64) {
	k.census.term = term
	for _, l := range slices.Clone(k.leases) {
		l.term = min(l.term, term)
		k.moveLocked(l, true)
	}
}

// renewedLocked notes the term in which a lease was renewed, and acts when it was granted in an earlier one.
func (k *Keeper) renewedLocked(l *lease, term uint64) {
	if l.term == 0 {
		l.term = term
	}
	k.census.term = max(k.census.term, term)
	switch {
	case l.term >= k.census.term:
	case time.Since(k.census.silent) < time.Duration(l.ttl)*time.Second:
		k.moveStaleLocked()
	default:
		k.countLocked()
	}
}

// hung is told that a member did not answer in time: if a new leader is elected for that, no time is to be lost then.
func (k *Keeper) hung() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.census.taken) > censusPeriod {
		k.countLocked()
	}
}

// countLocked asks every member for a sign of life, in the background. The only one needs no asking: nobody else can have led.
func (k *Keeper) countLocked() {
	if k.Line.Members() <= 1 {
		k.nobodyHangsLocked(k.census.term)
		return
	}
	if c := &k.census; !c.busy && !k.closing && k.ctx.Err() == nil {
		c.busy, c.taken = true, time.Now()
		term := c.term
		k.wg.Go(func() { k.count(term) })
	}
}

func (k *Keeper) count(term uint64) {
	ctx, cancel := context.WithTimeout(k.ctx, signTimeout)
	silent := k.Line.Silent(ctx)
	cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.census.busy = false
	switch {
	case k.ctx.Err() != nil:
	case len(silent) > 0:
		k.census.silent = time.Now()
		k.moveStaleLocked()
	default:
		k.nobodyHangsLocked(term)
	}
}

// nobodyHangsLocked: who led before has stepped down, or is dead.
func (k *Keeper) nobodyHangsLocked(term uint64) {
	for _, l := range k.leases {
		if l.term != 0 {
			l.term = max(l.term, term)
		}
	}
}

// moveStaleLocked moves what is wanted from every lease that was granted in an earlier term.
func (k *Keeper) moveStaleLocked() {
	for _, l := range slices.Clone(k.leases) {
		if l.term != 0 && l.term < k.census.term && k.moveLocked(l, false) {
			k.Logger.Info("a member hangs that may have led: moving to a fresh lease", "lease", l.id, "term", k.census.term)
		}
	}
}

// evacuate moves what is wanted from a lease that etcd does not let us renew, for a key on it that we may not write any
// more. The forbidden key is refused under the fresh lease. It is gone when the old one has run out.
func (k *Keeper) evacuate(l *lease, err error) {
	if !errors.Is(wire.EtcdError(err), rpctypes.ErrPermissionDenied) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	l.full = true
	// With one key on the books nothing else suffers. One that is not wanted any more may be the forbidden one.
	if len(l.books) > 1 && k.moveLocked(l, false) {
		k.Logger.Warn("etcd refuses to renew a lease, for a key on it that may not be written; moving the others", "lease", l.id, "err", err)
	}
}

// moveLocked moves what is wanted from a living lease to a fresh one, at once, or spread with the rest of the fleet. The
// old one is renewed until everything is written under the new one, and revoked then.
func (k *Keeper) moveLocked(l *lease, spread bool) bool {
	if l.wanted == 0 || l.state != alive || k.closing {
		return false
	}
	l.full = true
	next := newLease(l.ttl, l.apart)
	next.spread = spread
	k.addLocked(next)
	for _, e := range l.books {
		if e.lease == l && e.hold != nil {
			l.wanted--
			next.wanted++
			k.enterLocked(e, next)
			k.dirtyLocked(e)
		}
	}
	return true
}
