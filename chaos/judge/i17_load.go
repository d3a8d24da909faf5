package judge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleLoad = "what the run measured stays within its bounds"

// checkLoad: I17.
func checkLoad(r *run) {
	measured := map[string]bool{}
	for _, e := range r.events {
		if e.What != journal.Load {
			continue
		}
		measured[e.Name] = true
		if most, bounded := r.expect.Most[e.Name]; bounded && e.Value > most {
			r.report(Violation{Invariant: "I17", Rule: ruleLoad, At: e.At, Detail: fmt.Sprintf("%s is %v, at most %v is allowed", e.Name, e.Value, most)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.expect.Most)) {
		if r.done && !measured[name] {
			r.report(Violation{Invariant: "run", Rule: ruleRun, At: r.end, Detail: name + " is bounded, but was never measured"})
		}
	}
}
