package judge

import (
	"fmt"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleFarewell = "who says goodbye says so in etcd: its key is leaving before it is deleted"

// checkFarewells: I6, as readers see it. A key that is deleted without a farewell looks like a crash, and many of them like
// a registry that failed.
func checkFarewells(r *run) {
	for k, changes := range r.store.keys {
		for _, c := range changes {
			if c.event.What != journal.Deleted || c.event.Name != "" || c.event.State == leaving || r.meddled(k, c.at) {
				continue
			}
			for _, s := range r.stays[k] {
				if s.goodbye > c.at || !s.is(c.was) || r.hampered(s.life, span{s.goodbye, c.at}) || s.life.lost < c.at && s.life.closed == nil {
					continue
				}
				r.report(Violation{
					Invariant: "I6", Rule: ruleFarewell, At: c.at, Service: s.service, ID: s.id, Process: s.life.process,
					Detail: fmt.Sprintf("deleted at revision %d without a farewell, %s after its process had said goodbye", c.revision, clock(c.at-s.goodbye)),
				})
			}
		}
	}
}
