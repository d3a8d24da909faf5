package judge

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleLost = "a view never loses a live instance, nor doubts one, by a fault of etcd"

// checkLosses: I7.
func checkLosses(r *run) {
	for _, w := range r.watchers {
		for n := range w.views {
			v := &w.views[n]
			for _, m := range v.left {
				if s := r.wronged(w, m, v.event); s != nil {
					r.reportLoss(w, v, s, "dropped from the view of revision %d, though it lives")
				}
			}
			if r.expect.Doubts {
				continue
			}
			for _, m := range v.event.Changed {
				if !m.Suspect {
					continue
				}
				if s := r.wronged(w, m, v.event); s != nil {
					r.reportLoss(w, v, s, "a suspect in the view of revision %d, though it lives")
				}
			}
		}
	}
}

// wronged returns the stay of an instance that lives at the time of a view that does not show it as it should; nil if
// that is excused.
func (r *run) wronged(w *watcher, m journal.Member, e *journal.Event) *stay {
	k := slot{w.service, m.ID}
	for _, s := range r.stays[k] {
		if s.live(e.At) && s.is(m.Incarnation) && !r.excused(s.life, e.At) && !r.meddled(k, e.At) && !r.takenHonestly(s, e.Revision) {
			return s
		}
	}
	return nil
}

func (r *run) reportLoss(w *watcher, v *view, s *stay, detail string) {
	why := fmt.Sprintf(detail, v.event.Revision)
	if v.event.Reset {
		why += " (it is a reset)"
	}
	if v.size == 0 {
		why += "; nobody is left in it"
	}
	r.report(Violation{
		Invariant: "I7", Rule: ruleLost, At: v.event.At, Service: w.service, ID: s.id, Process: s.life.process,
		Detail: fmt.Sprintf("%s: watched by %s, registered by %s %s before", why, w.life.process, s.life.process, clock(max(0, time.Duration(v.event.At-s.from)))),
	})
}
