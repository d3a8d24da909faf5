package rollcall

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/internal/without"
)

const (
	// Fewer losses than this, and no more than this part of a service, are not doubted: they are everyday crashes.
	guardLeast, guardPercent = 3, 50

	// DefaultSuspicion is how long a doubted loss stays in the view as a suspect unless it is settled before.
	DefaultSuspicion = 5 * time.Minute
	maxSuspicion     = time.Hour
)

// guard decides which losses of a service are believed. Trusted at once: a goodbye, and the expiry of a minority.
// Doubted: when within one TTL more than half of the instances, and at least three, expire without a goodbye, or when
// etcd's history broke. Then it is more likely that the registry failed than that they all did, and the lost ones stay in
// the view as suspects.
//
// It belongs to a feed, whose mu guards it.
type guard struct {
	own       time.Duration        // the suspicion that the program wants
	suspicion time.Duration        // the one that counts; 0: everything is believed
	least     int                  // losses that are doubted
	percent   int                  // of the instances that may be lost without doubt
	revision  int64                // as of which it judges
	recent    []loss               // believed, within the last TTL
	suspects  map[string]suspicion // by id
}

// suspicion is what is known of a suspect.
type suspicion struct {
	until time.Time
	since int64 // the revision as of which it is doubted
	asked bool  // etcd was asked about its lease, once
	reset bool  // its loss was found when etcd's history broke: its lease tells nothing, it may have come back with a backup
}

type loss struct {
	inst *Instance
	at   time.Time
}

func newGuard(own time.Duration) guard {
	g := guard{own: own, suspects: map[string]suspicion{}}
	g.follow(nil)
	return g
}

// follow takes over what an operator decided.
func (g *guard) follow(p *Policy) {
	g.suspicion, g.least, g.percent = g.own, guardLeast, guardPercent
	if p == nil || p.Guard == nil {
		return
	}
	g.least, g.percent = cmp.Or(p.Guard.Least, g.least), cmp.Or(p.Guard.Percent, g.percent)
	g.suspicion = cmp.Or(p.Guard.Suspicion, g.suspicion)
	if p.Guard.Disabled {
		g.suspicion = 0
		g.accept(math.MaxInt64)
	}
}

// accept believes the losses that were doubted up to a revision.
func (g *guard) accept(revision int64) {
	for id, s := range g.suspects {
		if s.since <= revision {
			s.until = time.Unix(0, 0)
			g.suspects[id] = s
		}
	}
	g.recent = nil
}

// begin is told the revision that the next judgement is as of. After a reset what is doubted counts as doubted since then:
// revisions from before it mean nothing any more.
func (g *guard) begin(revision int64, reset bool) {
	g.revision = revision
	if !reset {
		return
	}
	for id, s := range g.suspects {
		s.since = revision
		g.suspects[id] = s
	}
}

// judge takes the updates that lead from a view to the next, sorted by id, and returns those that are believed: losses
// that are doubted become suspects instead. Present counts the instances after the updates, suspects apart.
func (g *guard) judge(updates []Update, present int, reset bool, now time.Time) []Update {
	for _, u := range updates {
		delete(g.suspects, u.Instance.ID) // whatever was said of it now settles it
	}
	if g.suspicion == 0 || without.Guard {
		return updates
	}
	g.forget(updates, now)
	lost := 0
	for _, u := range updates {
		if u.Op == Delete && u.Expired && u.Instance.leased() {
			lost++
			g.recent = append(g.recent, loss{u.Instance, now})
		}
	}
	all := len(g.recent) + len(g.suspects)
	doubt := lost > 0 && (reset || all >= g.least && 100*all > g.percent*(present+all))
	if !doubt {
		return updates
	}
	believed := g.suspect(updates, reset, now)
	g.recent = nil
	return believed
}

// forget drops losses that are older than their TTL, and those of instances that are back.
func (g *guard) forget(updates []Update, now time.Time) {
	g.recent = slices.DeleteFunc(g.recent, func(l loss) bool {
		ttl := l.inst.TTL
		if ttl == 0 {
			ttl = DefaultTTL
		}
		_, spoken := slices.BinarySearchFunc(updates, l.inst.ID, func(u Update, id string) int { return compareID(u.Instance, id) })
		return spoken || now.Sub(l.at) > ttl
	})
}

// heard settles what was lost of an instance that was heard of since.
func (g *guard) heard(id string) {
	g.recent = slices.DeleteFunc(g.recent, func(l loss) bool { return l.inst.ID == id })
}

// suspect takes every recent loss back: in place of the update that removes it, or as a new one.
func (g *guard) suspect(updates []Update, reset bool, now time.Time) []Update {
	merged := make(map[string]Update, len(updates)+len(g.recent))
	for _, u := range updates {
		merged[u.Instance.ID] = u
	}
	for _, l := range g.recent {
		id := l.inst.ID
		s := *l.inst
		s.Suspect = true
		g.suspects[id] = suspicion{until: now.Add(g.suspicion), since: g.revision, reset: reset}
		if u, removed := merged[id]; removed {
			merged[id] = Update{Op: Modify, Instance: &s, Prev: u.Prev}
		} else {
			merged[id] = Update{Op: Add, Instance: &s}
		}
	}
	return sortUpdates(merged)
}

// overdue returns the suspects whose time is up, and when the next one's is; zero when there is none.
func (g *guard) overdue(now time.Time) (ids []string, next time.Time) {
	for id, s := range g.suspects {
		switch {
		case !s.until.After(now):
			ids = append(ids, id)
			delete(g.suspects, id)
		case next.IsZero() || s.until.Before(next):
			next = s.until
		}
	}
	slices.Sort(ids)
	return ids, next
}

// leased reports whether the instance's key lay under a lease. One without can have been removed only on purpose.
func (i *Instance) leased() bool { return i.lease != 0 }

// believe asks the guard about the updates, and sees that suspects are settled in time.
func (f *feed) believe(before []*Instance, updates []Update, reset, accepted bool) []Update {
	present := len(before) - len(f.guard.suspects)
	for _, u := range updates {
		_, suspect := f.guard.suspects[u.Instance.ID]
		switch {
		case u.Op == Add, u.Op == Modify && suspect:
			present++
		case u.Op == Delete && !suspect:
			present--
		}
	}
	doubted := len(f.guard.suspects)
	if f.believeOnce {
		f.believeOnce = false
		return updates
	}
	believed := f.judge(updates, present, reset, accepted)
	if n := len(f.guard.suspects); n > doubted {
		f.logger.Warn("too many instances expired at once to be believed, kept as suspects", "service", f.service, "suspects", n, "present", present, "reset", reset)
		if !f.asking && f.doubt != nil {
			f.asking = true
			f.doubt()
		}
	}
	f.scheduleLocked()
	return believed
}

// judge asks the guard, who has no say in what an operator has accepted.
func (f *feed) judge(updates []Update, present int, reset, accepted bool) []Update {
	g := &f.guard
	if accepted {
		defer func(suspicion time.Duration) { g.suspicion = suspicion }(g.suspicion)
		g.suspicion = 0
	}
	return g.judge(updates, present, reset, time.Now())
}

// scheduleLocked sets the timer for the suspect whose time is up first.
func (f *feed) scheduleLocked() {
	if f.settle != nil {
		f.settle.Stop()
		f.settle = nil
	}
	if _, next := f.guard.overdue(time.Time{}); !next.IsZero() && !f.ended {
		f.settle = time.AfterFunc(time.Until(next), f.settleSuspects)
	}
}

// settleSuspects removes the suspects that nobody has heard of for too long.
func (f *feed) settleSuspects() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settleSuspectsLocked()
}

func (f *feed) settleSuspectsLocked() {
	ids, _ := f.guard.overdue(time.Now())
	f.dropLocked(ids, true)
	f.scheduleLocked()
}

// dropLocked removes instances, sorted by id, that are believed to be gone after all.
func (f *feed) dropLocked(ids []string, expired bool) {
	var updates []Update
	for _, id := range ids {
		if i, ok := f.view.Get(id); ok {
			updates = append(updates, Update{Op: Delete, Instance: i, Prev: i, Expired: expired})
		}
	}
	if len(updates) == 0 {
		return
	}
	next := *f.view
	next.Instances = applyUpdates(f.view.Instances, updates)
	f.publish(&next, delta{updates: updates})
}

// suspectsByLease returns the ids of the suspects whose leases have not been asked about, by the lease that their keys lay
// under. When there are none, asking ends.
func (f *feed) suspectsByLease() map[int64][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := map[int64][]string{}
	for id, s := range f.guard.suspects {
		if i, ok := f.view.Get(id); ok && !s.reset && !s.asked {
			ids[i.lease] = append(ids[i.lease], id)
			s.asked = true
			f.guard.suspects[id] = s
		}
	}
	f.asking = len(ids) > 0
	return ids
}

// acquit is told that a lease lives: those of its suspects that are still under suspicion did not expire, somebody
// removed them on purpose.
func (f *feed) acquit(lease int64, ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids = slices.DeleteFunc(ids, func(id string) bool {
		i, ok := f.view.Get(id)
		return !ok || !i.Suspect || i.lease != lease
	})
	for _, id := range ids {
		delete(f.guard.suspects, id)
	}
	slices.Sort(ids)
	f.dropLocked(ids, false)
	f.scheduleLocked()
}

// question asks etcd about the leases of a feed's suspects. A lease that lives has not expired: its keys were deleted by
// somebody, which is as good as a goodbye. It is asked only in doubt, for it costs a request for each lease.
func (r *etcd) question(f *feed) {
	for leases := f.suspectsByLease(); len(leases) > 0; leases = f.suspectsByLease() {
		for id, ids := range leases {
			alive, err := r.source.LeaseAlive(r.ctx, id)
			if r.ctx.Err() != nil {
				return
			}
			if err == nil && alive {
				f.acquit(id, ids)
			}
		}
	}
}
