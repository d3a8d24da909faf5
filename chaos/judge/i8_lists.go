package judge

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleLists = "a list is what etcd held at its revision, and no older than the moment at which it was asked for"

// checkLists: I8, of lists.
func checkLists(r *run) {
	type asker struct {
		by string
		slot
	}
	asked := map[asker]time.Duration{}
	for n := range r.events {
		e := &r.events[n]
		who := asker{e.By, slot{e.Service, e.ID}}
		switch {
		case e.What == journal.Listing:
			asked[who] = e.At
		case e.What == journal.Listed && e.Err == "" && !e.Stale && e.At <= r.end:
			if detail := r.listFault(e, asked[who]); detail != "" {
				r.report(Violation{
					Invariant: "I8", Rule: ruleLists, At: e.At, Service: e.Service, ID: e.ID, Process: e.By,
					Detail: fmt.Sprintf("list of revision %d: %s", e.Revision, detail),
				})
			}
		}
	}
}

// listFault tells what is wrong with a list, if it is so in every epoch.
func (r *run) listFault(e *journal.Event, asked time.Duration) (fault string) {
	for _, ep := range r.store.epochs {
		switch {
		case e.Revision < ep.floor:
			fault = fmt.Sprintf("the record begins at revision %d", ep.floor)
		case e.Revision > max(ep.head, ep.synced) && r.unrecorded(ep, e):
			return ""
		case !r.sameList(ep, e):
			fault = "it is not what etcd held then"
		default:
			if old := ep.at(e.Service, ep.toldBefore(e.Service, asked)); old.revision <= e.Revision {
				return ""
			}
			fault = "etcd was ahead of it when it was asked for"
		}
	}
	return fault
}

// sameList compares a list, or the one instance that was looked for in it.
func (r *run) sameList(ep *epoch, e *journal.Event) bool {
	if e.ID != "" {
		k := slot{e.Service, e.ID}
		c, _ := r.store.lastChange(k, ep.number, e.Revision)
		if r.store.odd[k] {
			return true
		}
		if len(e.Changed) == 0 || e.Changed[0].Suspect {
			return !c.there
		}
		return c.there && c.incarnation == e.Changed[0].Incarnation
	}
	var v view
	for _, m := range e.Changed {
		v.take(e.Service, m, r.store.odd, +1)
	}
	c := ep.at(e.Service, e.Revision)
	return c.hash == v.hash && c.count == v.count
}

// toldBefore returns the last revision of a service that was recorded before a moment.
func (ep *epoch) toldBefore(service string, at time.Duration) int64 {
	states := ep.services[service]
	for n := len(states) - 1; n >= 0; n-- {
		if states[n].at < at {
			return states[n].revision
		}
	}
	return 0
}
