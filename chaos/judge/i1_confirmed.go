package judge

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	ruleConfirmed = "a Register that returned is in etcd: a list that its process asks for afterwards is of a later revision"
	ruleOneEach   = "every registration has an incarnation of its own"
)

// checkConfirmed: I1, on the side of the one who registers. By revisions, not by clocks: so it is exact.
func checkConfirmed(r *run) {
	asked := map[string]time.Duration{} // process and id → when
	for n := range r.events {
		e := &r.events[n]
		switch {
		case e.What == journal.Listing:
			asked[e.By+"/"+e.ID] = e.At
		case e.What == journal.Listed && e.ID != "" && e.Err == "" && !e.Stale && len(r.store.epochs) == 1:
			r.checkConfirmedBy(e, asked[e.By+"/"+e.ID])
		}
	}
}

func (r *run) checkConfirmedBy(e *journal.Event, asked time.Duration) {
	k := slot{e.Service, e.ID}
	for _, s := range r.stays[k] {
		if s.life.process != e.By || s.from > asked || s.incarnation == "" {
			continue
		}
		for _, c := range r.store.keys[k] {
			if c.incarnation != s.incarnation || c.event.What != journal.Put {
				continue
			}
			if c.revision > e.Revision {
				r.report(Violation{
					Invariant: "I1", Rule: ruleConfirmed, At: e.At, Service: e.Service, ID: e.ID, Process: e.By,
					Detail: fmt.Sprintf("registered, so it said, and written at revision %d; a list of revision %d was asked for %s after that", c.revision, e.Revision, clock(asked-s.from)),
				})
			}
			break
		}
	}
}

// checkIncarnations: what an incarnation names must be one registration, or nobody can tell a restart from what was there.
func checkIncarnations(r *run) {
	first := map[string]*journal.Event{}
	for n := range r.events {
		e := &r.events[n]
		if e.What != journal.Registered || e.Err != "" || e.Incarnation == "" {
			continue
		}
		if was := first[e.Incarnation]; was != nil {
			r.report(Violation{
				Invariant: "I1", Rule: ruleOneEach, At: e.At, Service: e.Service, ID: e.ID, Process: e.By,
				Detail: fmt.Sprintf("incarnation %s is also that of %s/%s, which %s registered", e.Incarnation, was.Service, was.ID, was.By),
			})
			continue
		}
		first[e.Incarnation] = e
	}
}
