package judge

import (
	"fmt"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	ruleRecord = "etcd tells all who watch it the same, and the judge has heard all of it"
	ruleRun    = "a verdict needs a run that says what it expects and comes to its end"
)

// checkRecord: whether the record may be judged by.
func checkRecord(r *run) {
	if !r.expected {
		r.report(Violation{Invariant: "run", Rule: ruleRun, At: r.began, Detail: "nothing says what is expected of it"})
	}
	synced := false
	for n := range r.events {
		e := &r.events[n]
		switch e.What {
		case Hole, Contradiction:
			r.report(Violation{Invariant: "record", Rule: ruleRecord, At: e.At, Detail: fmt.Sprintf("%s %s after revision %d: %s", e.What, e.Target, e.Revision, e.Err)})
		case Synced:
			synced = synced || e.Epoch == r.store.last().number
		}
	}
	if r.done && !synced {
		r.report(Violation{Invariant: "record", Rule: ruleRecord, At: r.end, Detail: "it was never found to be complete"})
	}
	if !r.done {
		r.report(Violation{Invariant: "run", Rule: ruleRun, At: r.end, Detail: fmt.Sprintf("it was cut short: nobody told %q", journal.Done)})
	}
}
