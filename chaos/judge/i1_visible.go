package judge

import (
	"fmt"
	"time"
)

const ruleVisible = "a Register that returned is seen by every watcher that can reach etcd"

// checkVisible: I1.
func checkVisible(r *run) {
	if r.expect.Visible == 0 {
		return
	}
	byService := map[string][]*watcher{}
	for _, w := range r.watchers {
		byService[w.service] = append(byService[w.service], w)
	}
	for k, stays := range r.stays {
		for _, s := range stays {
			for _, w := range byService[k.service] {
				r.checkVisibleTo(w, s)
			}
		}
	}
}

func (r *run) checkVisibleTo(w *watcher, s *stay) {
	deadline := calm(max(s.from, w.first), r.expect.Visible, w.life.unreachable, r.outages, r.rewrites)
	if deadline > min(s.to, r.end) || !w.running(deadline) {
		return
	}
	if m, there := w.showed(s.id, deadline); there && s.is(m.Incarnation) {
		return
	}
	if !r.heldFor(s, deadline) {
		return // it was lost, or replaced by another, before anybody had to see it; whether it might is no matter of views
	}
	r.report(Violation{
		Invariant: "I1", Rule: ruleVisible, At: deadline, Service: s.service, ID: s.id, Process: s.life.process,
		Detail: fmt.Sprintf("watched by %s, which does not show it %s after its Register returned", w.life.process, clock(deadline-s.from)),
	})
}

// heldFor reports whether etcd holds what a stay has registered, and has done so for as long as watchers may take.
func (r *run) heldFor(s *stay, at time.Duration) bool {
	for _, held := range r.store.presence(s.slot, func(c change) bool { return s.is(c.incarnation) }) {
		if held.holds(at) {
			return held.from <= max(s.from, at-r.expect.Visible)+lag
		}
	}
	return false
}
