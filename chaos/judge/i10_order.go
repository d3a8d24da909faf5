package judge

import "fmt"

// checkOrder: I10.
func checkOrder(r *run) {
	for _, w := range r.watchers {
		for n := 1; n < len(w.views); n++ {
			v, before := &w.views[n], w.views[n-1].event
			if v.event.Revision < before.Revision && !v.event.Reset {
				r.reportView("I10", ruleUnmarked, w, v, fmt.Sprintf("the view before was of revision %d, and it is no reset", before.Revision))
			}
		}
	}
}
