package judge

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleConverged = "without faults every view soon is what etcd holds, is fresh and doubts nobody, and stays so"

// checkConverged: I9. A run may end before the bound is over: then it says that it has converged.
func checkConverged(r *run) {
	if r.expect.Converge == 0 || !r.done {
		return
	}
	if r.quiet == forever {
		r.report(Violation{Invariant: "run", Rule: ruleRun, At: r.end, Detail: "that the views converge is expected, but the run was never told to be quiet"})
		return
	}
	deadline := min(r.quiet+r.expect.Converge, r.end)
	for _, w := range r.watchers {
		r.checkConvergedAt(w, deadline)
		if deadline == r.end {
			continue
		}
		r.checkStays(w, deadline)
		r.checkConvergedAt(w, r.end)
	}
}

func (r *run) checkConvergedAt(w *watcher, at time.Duration) {
	if !w.running(at) || w.first > at {
		return
	}
	v := w.at(at)
	if v == nil {
		r.reportUnconverged(w, at, nil, "there is no view")
		return
	}
	switch {
	case v.event.Stale:
		r.reportUnconverged(w, at, v, "it is stale")
	case v.suspects > 0:
		r.reportUnconverged(w, at, v, fmt.Sprintf("it doubts %d", v.suspects))
	case !r.current(w, v, at):
		late := view{event: &journal.Event{At: at, Revision: forever.Nanoseconds()}}
		r.reportUnconverged(w, at, v, r.mismatch(w, &late, r.store.epochs))
	}
}

// checkStays: from a moment on no view is stale or doubts anybody.
func (r *run) checkStays(w *watcher, from time.Duration) {
	for n := range w.views {
		v := &w.views[n]
		if at := v.event.At; at > from && w.running(at) && (v.event.Stale || v.suspects > 0) {
			r.reportUnconverged(w, at, v, fmt.Sprintf("it is stale: %v, and doubts %d", v.event.Stale, v.suspects))
		}
	}
}

// current reports whether a view is what etcd holds at a moment, or held a moment before.
func (r *run) current(w *watcher, v *view, at time.Duration) bool {
	states := r.store.last().services[w.service]
	for n := len(states) - 1; n >= 0; n-- {
		if states[n].at > at {
			continue
		}
		if states[n].hash == v.hash && states[n].count == v.count {
			return true
		}
		if states[n].at < at-lag/2 {
			return false
		}
	}
	return v.count == 0 && v.hash == 0 // before the first change there was nobody
}

func (r *run) reportUnconverged(w *watcher, at time.Duration, v *view, detail string) {
	what := "the watcher's last word"
	if v != nil {
		what = fmt.Sprintf("the view of revision %d, returned %s before", v.event.Revision, clock(at-v.event.At))
	}
	r.report(Violation{
		Invariant: "I9", Rule: ruleConverged, At: at, Service: w.service, Process: w.life.process,
		Detail: fmt.Sprintf("%s after the last fault, %s: %s", clock(at-r.quiet), what, detail),
	})
}
