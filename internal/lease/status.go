package lease

import (
	"cmp"
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// Status is what a keeper knows about itself.
type Status struct {
	UnreachableSince time.Time // zero while etcd answers
	LastError        error     // what the last failed try met; nil when there was none
	LastErrorAt      time.Time
	Leases           []LeaseStatus
	Lost             int64 // leases that were granted anew because etcd had ended them
}

// LeaseStatus is about one lease.
type LeaseStatus struct {
	ID            int64 // 0 while it is not granted
	TTL           int64 // seconds
	Holds         int
	LastHeartbeat time.Time
}

// reach is what the keeper knows about etcd's answering.
type reach struct {
	since  time.Time // when it stopped answering; zero while it answers
	back   time.Time // when it last came back from an outage
	last   error
	lastAt time.Time
	warned bool

	refused time.Time // when a refusal was last logged
}

// warnAfter keeps a hiccup that heals within a try or two out of the log.
const warnAfter = time.Second

func (k *Keeper) reachedLocked() {
	r := &k.reach
	if !r.since.IsZero() && time.Since(r.since) >= warnAfter {
		r.back = time.Now()
	}
	if r.warned {
		k.Logger.Info("etcd answers again", "after", time.Since(r.since).Round(time.Millisecond))
	}
	r.since, r.warned = time.Time{}, false
}

func (k *Keeper) missed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.missedLocked(err)
}

func (k *Keeper) missedLocked(err error) {
	r := &k.reach
	r.last, r.lastAt = err, time.Now()
	if r.since.IsZero() {
		r.since = time.Now()
	}
	if !r.warned && time.Since(r.since) >= warnAfter {
		r.warned = true
		k.Logger.Warn("etcd does not answer; registrations are kept as long as their leases last", "since", r.since, "err", err)
	}
}

// refused notes a definite no: etcd answers, and will not.
func (k *Keeper) refused(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refusedByLocked(err)
}

func (k *Keeper) refusedByLocked(err error) {
	r := &k.reach
	if r.refused.IsZero() || time.Since(r.refused) > time.Minute {
		r.refused = time.Now()
		k.Logger.Warn("etcd refuses, trying again", "err", err)
	}
	r.last, r.lastAt = err, time.Now()
}

// beaten notes a heartbeat that etcd answered, and where the member that answered it is: etcd itself is not behind that.
func (k *Keeper) beaten(l *lease, at wire.Header) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l.beaten = time.Now()
	k.reachedLocked()
	if k.at != (wire.Header{}) && at.Cluster == k.at.Cluster {
		k.at.Revision, k.at.Term = max(k.at.Revision, at.Revision), max(k.at.Term, at.Term)
	}
	k.renewedLocked(l, at.Term)
}

// Status returns what the keeper knows about itself now, leases sorted by TTL.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{UnreachableSince: k.reach.since, LastError: k.reach.last, LastErrorAt: k.reach.lastAt, Lost: k.lost}
	for _, l := range k.leases {
		if l.state == ended {
			continue
		}
		ls := LeaseStatus{TTL: l.ttl, Holds: l.wanted, LastHeartbeat: l.beaten}
		if l.state == alive {
			ls.ID = l.id
		}
		s.Leases = append(s.Leases, ls)
	}
	slices.SortFunc(s.Leases, func(a, b LeaseStatus) int {
		return cmp.Or(cmp.Compare(a.TTL, b.TTL), cmp.Compare(a.ID, b.ID))
	})
	return s
}
