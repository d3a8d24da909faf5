package judge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleFlat = "a process uses at the end what it used at the beginning"

// settledAfter is how many times a process has told what it uses when it is taken to have settled.
const settledAfter = 3

// checkFlat: no process uses much more at the end than it did when it had settled.
func checkFlat(r *run) {
	told := map[string][]*journal.Event{}
	for n := range r.events {
		if e := &r.events[n]; e.What == journal.Usage {
			told[e.By] = append(told[e.By], e)
		}
	}
	for _, by := range slices.Sorted(maps.Keys(told)) {
		all := told[by]
		from, to := all[min(settledAfter, len(all))-1], all[len(all)-1]
		grown := func(what string, was, is, allowed int64) {
			if is > was+allowed {
				r.report(Violation{
					Invariant: "flat", Rule: ruleFlat, At: to.At, Process: by, Detail: fmt.Sprintf("%s has %d %s, after %d", by, is, what, was),
				})
			}
		}
		grown("goroutines", int64(from.Goroutines), int64(to.Goroutines), 20)
		grown("descriptors", int64(from.Descriptors), int64(to.Descriptors), 10)
		grown("bytes on its heap", from.Heap, to.Heap, max(4<<20, from.Heap/2))
	}
}
