package judge

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleStale = "a view says so when etcd has been out of reach for ten seconds"

// toldWithin is how soon a view must say that etcd is out of reach.
const toldWithin = 10 * time.Second

// away is the name of the fault that is no etcd at all.
const away = "outage"

// checkStale: a view that is old says that it is.
func checkStale(r *run) {
	for n := range r.events {
		e := &r.events[n]
		if e.What != journal.Fault || e.Name != away || e.Target != wholeCluster || !r.outageHolds(e.At, e.At+toldWithin) {
			continue
		}
		for _, w := range r.watchers {
			v := w.at(e.At + toldWithin)
			if v == nil || v.event.Stale || !w.running(e.At) || !w.running(e.At+toldWithin) || w.at(e.At) == nil {
				continue
			}
			r.report(Violation{
				Invariant: "stale", Rule: ruleStale, At: e.At + toldWithin, Service: w.service, Process: w.life.process,
				Detail: fmt.Sprintf("%s after all members were gone its view of revision %d does not say so", clock(toldWithin), v.event.Revision),
			})
		}
	}
}

// outageHolds reports whether all of etcd was away all the time from one moment to another.
func (r *run) outageHolds(from, to time.Duration) bool {
	for _, o := range r.outages {
		if o.from <= from && to <= o.to {
			return true
		}
	}
	return false
}
