package simulation

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	simSeeds = flag.Int("sim.seeds", 0, "how many seeded schedules to play of each family; 0: as many as the family wants")
	simSeed  = flag.Uint64("sim.seed", 0, "the only seed to play; 0: from 1 on")
	simFails = flag.Int("sim.failures", 3, "after how many failed seeds to give up")
	simFor   = flag.Duration("sim.for", 5*time.Minute, "virtual time of each schedule")
)

// defaultSeeds is how many schedules a family plays by default.
func defaultSeeds(wanted int) int {
	switch {
	case *simSeeds > 0:
		return *simSeeds
	case testing.Short():
		return 1
	case raceDetector:
		return max(1, wanted/100)
	}
	return wanted
}

// playAll plays a family's schedules, and reports whether all that it wants by default were, and went well.
func playAll(t *testing.T, f family, wanted int) (complete bool) {
	t.Helper()
	first, last := uint64(1), uint64(defaultSeeds(wanted))
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	name := t.Name()
	var failed atomic.Int32
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed <= last; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				if int(failed.Load()) >= *simFails {
					t.Skip("enough seeds have failed")
				}
				if broken := play(t, f, seed); broken != nil {
					failed.Add(1)
					t.Errorf("%v\nreplay with: go test ./internal/simulation -run '^%s$' -count=20 -args -sim.seed=%d -sim.for=%v",
						broken, name, seed, *simFor)
				}
			})
		}
	})
	return failed.Load() == 0 && *simSeed == 0 && last >= uint64(wanted) && *simFor >= 5*time.Minute
}

// play plays one schedule in a bubble of its own and returns the invariant that it broke, nil for none.
func play(t *testing.T, f family, seed uint64) (broken *violation) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, f, seed)
		f.schedule(w)
		w.end()
		broken = w.broken
	})
	return broken
}

// mustBreak plays schedules until one breaks one of some invariants, and fails when none of so many does. It is for what
// must not be done: a test that cannot see the fault proves nothing.
func mustBreak(t *testing.T, f family, seeds int, invariant ...string) {
	t.Helper()
	for seed := range uint64(seeds) {
		if broken := play(t, f, seed+1); broken != nil && slices.Contains(invariant, broken.invariant) {
			t.Logf("caught: %s", strings.SplitN(broken.String(), "\ntimeline", 2)[0])
			return
		}
	}
	t.Errorf("none of %d seeds has broken: %s", seeds, invariant)
}

// violation is an invariant that did not hold.
type violation struct {
	seed      uint64
	invariant string // its name in invariants
	what      string
	timeline  []string
}

func (v *violation) String() string {
	return fmt.Sprintf("seed %d broke %s: %s\n%s\ntimeline:\n%s", v.seed, v.invariant, invariants[v.invariant], v.what, strings.Join(v.timeline, "\n"))
}

// invariants are what must hold, whatever happens to etcd.
var invariants = map[string]string{
	"never falsely absent":  "no lease of a live instance runs out, and nobody but strangers deletes its key, while members fail one by one or etcd is away altogether",
	"back in time":          "an instance whose lease or key was truly lost is back within the bound after etcd can be reached",
	"etcd as wanted":        "in the end etcd holds exactly what is wanted of it",
	"registration lasts":    "a registration ends by its own Deregister or Close only, or by another one of its id",
	"clean close":           "after Close neither key nor lease is left",
	"no shrink":             "a view never loses a live instance by etcd's fault",
	"no false growth":       "what is in a view, suspects apart, is what etcd held at the view's revision, whole revisions at a time",
	"order":                 "revisions of views never go back, except in a view that says Reset, and each key's only grow",
	"no loss":               "the updates of a view, applied to the view before, give the view",
	"no silence":            "a view that lacks something for ten seconds says that it is stale",
	"convergence":           "eight seconds after the last fault a view is fresh and holds what etcd holds",
	"heartbeats are spread": "in 250 ms heartbeats peak at no more than twice their mean",
	"one owner":             "of two registries that want one id, one has it in the end and the other is told; nobody is lost",
}
