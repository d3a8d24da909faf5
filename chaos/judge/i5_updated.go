package judge

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleUpdated = "what an Update has written stays, whatever becomes of the key, until the next Update"

// checkUpdates: I5, of what an instance says of itself: it heals with what was written last.
func checkUpdates(r *run) {
	latest := map[string]*journal.Event{} // process and id → the Update that returned last, with none after it under way
	for n := range r.events {
		e := &r.events[n]
		switch who := e.By + "/" + e.ID; e.What {
		case journal.Updating, journal.Deregistering, journal.Registering, journal.Ended:
			if was := latest[who]; was != nil {
				r.checkUpdate(was, e.At)
			}
			delete(latest, who)
		case journal.Updated:
			if e.Err == "" {
				latest[who] = e
			}
		}
	}
	for _, e := range latest {
		r.checkUpdate(e, r.end)
	}
}

// checkUpdate holds every write of the key in a time in which one Update counted against what that wrote.
func (r *run) checkUpdate(updated *journal.Event, until time.Duration) {
	k := slot{updated.Service, updated.ID}
	for _, s := range r.stays[k] {
		if s.life.process != updated.By || !s.live(updated.At) {
			continue
		}
		for _, c := range r.store.keys[k] {
			// The judge may tell a write before the Update later than the process tells of the Update.
			if c.there && !c.backup && c.incarnation == s.incarnation && c.at > updated.At+lag && c.at < min(until, s.to) && c.state != updated.State {
				r.report(Violation{
					Invariant: "I5", Rule: ruleUpdated, At: c.at, Service: s.service, ID: s.id, Process: s.life.process,
					Detail: fmt.Sprintf("written as %s at revision %d, %s after an Update to %s had returned", c.state, c.revision, clock(c.at-updated.At), updated.State),
				})
			}
		}
	}
}
