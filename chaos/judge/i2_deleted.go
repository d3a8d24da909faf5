package judge

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	ruleDeleted = "no live instance is deleted from etcd while its process can reach a member"
	ruleOutage  = "no live instance is deleted from etcd because all of etcd was away"
)

// checkDeletions: I2, and I3 after an outage.
func checkDeletions(r *run) {
	for k, changes := range r.store.keys {
		for _, c := range changes {
			if c.event.What != journal.Deleted || c.backup || c.ghost || c.at > r.end || r.meddled(k, c.at) {
				continue
			}
			for _, s := range r.stays[k] {
				if s.live(c.at) && s.is(c.was) && !r.excused(s.life, c.at) {
					r.reportDeletion(s, c)
				}
			}
		}
	}
}

func (r *run) reportDeletion(s *stay, c change) {
	v := Violation{
		Invariant: "I2", Rule: ruleDeleted, At: c.at, Service: s.service, ID: s.id, Process: s.life.process,
		Detail: fmt.Sprintf("deleted at revision %d, though it was registered %s before and its process had said nothing", c.revision, clock(c.at-s.from)),
	}
	if r.struckLately(c.at) {
		v.Invariant, v.Rule = "I3", ruleOutage
	}
	r.report(v)
}

// struckLately reports whether all of etcd was away at a moment, or shortly before: leases are promoted when it is back,
// and run out from then on.
func (r *run) struckLately(at time.Duration) bool {
	for _, o := range r.outages {
		if o.from <= at && at <= after(o.to, 2*r.expect.TTL+10*time.Second) {
			return true
		}
	}
	return false
}

// takenHonestly reports whether etcd lacks a key at a revision for a reason that its watchers have to believe: a deletion
// that its process's absence, or the run itself, accounts for.
func (r *run) takenHonestly(s *stay, revision int64) bool {
	for n := range r.store.epochs {
		c, found := r.store.lastChange(s.slot, n, revision)
		if found && c.event.What == journal.Deleted && s.is(c.was) && (r.excused(s.life, c.at) || r.meddled(s.slot, c.at)) {
			return true
		}
	}
	return false
}
