// Package judge says whether a chaos run kept the promises. It has two halves, and neither knows rollcall: a [Recorder]
// that watches etcd itself while the run lasts, and [Check], which holds what all processes of the run have told against
// that record when it is over.
package judge

import (
	"cmp"
	"slices"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// checks are the invariants, by the ids that they have everywhere.
var checks = []func(*run){
	checkRecord,
	checkConfirmed,
	checkIncarnations,
	checkVisible,
	checkDeletions,
	checkBack,
	checkGone,
	checkFarewells,
	checkUpdates,
	checkLosses,
	checkExpiries,
	checkFaithful,
	checkLists,
	checkConverged,
	checkOrder,
	checkCloses,
	checkDeaths,
	checkLoad,
	checkStale,
	checkFlat,
	checkLinearizable,
	checkHistory,
	checkNames,
}

// Check evaluates the invariants over everything that was told in a run, in the order of time, and returns what broke
// them, the invariants in order and what broke one in the order of time.
func Check(events []journal.Event) []Violation {
	r := newRun(events)
	for _, check := range checks {
		check(r)
	}
	slices.SortStableFunc(r.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(rank(a.Invariant), rank(b.Invariant)), cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.At, b.At))
	})
	r.addTimelines()
	return r.found
}

// rank sorts I2 before I10, and what makes all else doubtful before everything.
func rank(invariant string) int {
	n := 0
	for _, digit := range []byte(invariant) {
		switch {
		case digit >= '0' && digit <= '9':
			n = 10*n + int(digit-'0')
		case n > 0:
			return n
		}
	}
	return n
}
