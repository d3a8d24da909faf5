package judge

import "slices"

// remembered is how many updates a watcher may be behind.
const remembered = 1000

const ruleExpired = "a view says of those who are gone whether they said goodbye"

// checkExpiries: a delete without a goodbye is marked, and one with it is not. A watcher that was cut off may find out
// by a list, which does not tell: it takes an absence for an expiry, and in a run with faults that is no fault. One that is
// behind by more than is remembered for it is not told.
func checkExpiries(r *run) {
	calm := len(r.outages) == 0 && len(r.rewrites) == 0 && !r.faulty
	for _, w := range r.watchers {
		for n := range w.views {
			v := &w.views[n]
			if len(v.event.Left)+len(v.event.Changed) > remembered {
				continue
			}
			for _, m := range v.left {
				k := slot{w.service, m.ID}
				c, found := r.store.lastChange(k, 0, v.event.Revision)
				if !found || c.event.What != "deleted" && c.state != leaving || r.meddled(k, v.event.At) || v.event.Reset || m.Suspect {
					continue
				}
				goodbye, expired := c.state == leaving || c.event.State == leaving, slices.Contains(v.event.Expired, m.ID)
				switch {
				case !goodbye && !expired && len(r.rewrites) == 0:
					r.reportView("I7", ruleExpired, w, v, m.ID+" left without a goodbye, and is not marked as expired")
				case goodbye && expired && calm:
					r.reportView("I7", ruleExpired, w, v, m.ID+" said goodbye, and is marked as expired")
				}
			}
		}
	}
}
