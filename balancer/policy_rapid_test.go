package balancer

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever happens, in whatever order: what is called is what is to be called, nothing leaks, everything is counted right, and in the
// end the channel is what it would be had it come into the world just then.
func TestWhateverHappensThePolicyIsRightAndForgetsHowItCameToBe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			w := newWorld(t)
			next := rapid.SampledFrom(w.events())
			for range 80 {
				next.Draw(t, "event").happen()
				if w.shown {
					w.check()
				}
			}
			if !w.shown {
				return
			}
			w.settled()
			w.check()
			fresh := w.anew()
			fresh.recount()
			if got, want := w.connectivity(), fresh.connectivity(); got != want {
				t.Fatalf("the channel is %v, and would be %v: %v", got, want, w)
			}
			if fresh.usable > 0 {
				got, want := w.shares(), fresh.shares()
				if !sameShares(got, want) {
					t.Fatalf("shares are %s, and would be %s: %v", written(got), written(want), w)
				}
			}
		})
	})
}
