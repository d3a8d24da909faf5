package judge

import (
	"fmt"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleDied = "nothing that happens to etcd ends a process or a watcher, nor keeps a process from ending"

// checkDeaths: I14.
func checkDeaths(r *run) {
	for _, l := range r.lives {
		v := Violation{Invariant: "I14", Rule: ruleDied, Process: l.process}
		switch {
		case l.exited != nil && !l.exited.Told && !l.cutOff():
			v.At, v.Detail = l.exited.At, fmt.Sprintf("it ended by itself, with code %d %s", l.exited.Code, l.exited.Err)
		case l.exited == nil && l.started && r.done && !l.cutOff():
			v.At, v.Detail = l.to, "it did not end, nor did the run end it"
			if l.to == forever {
				v.At = r.events[len(r.events)-1].At
			}
		default:
			continue
		}
		r.report(v)
	}
	for _, e := range r.events {
		if e.What == journal.Unviewed && e.At <= r.end {
			r.report(Violation{
				Invariant: "I14", Rule: ruleDied, At: e.At, Service: e.Service, Process: e.By,
				Detail: "its watcher returned an error instead of a view: " + e.Err,
			})
		}
	}
}
