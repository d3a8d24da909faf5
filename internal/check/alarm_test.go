package check

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAlarmsRingInTheirOrderOnceAndNotWhenTheyWereStopped(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var set alarms
		start := time.Unix(0, 0)
		var rung []int
		all := make([]*alarm, 20)
		model := map[int]time.Time{}
		for n := range all {
			all[n] = &alarm{ring: func() { rung = append(rung, n) }}
		}
		now := start
		for range rapid.IntRange(1, 100).Draw(rt, "steps") {
			n := rapid.IntRange(0, len(all)-1).Draw(rt, "alarm")
			switch rapid.SampledFrom([]string{"set", "set", "stop", "ring"}).Draw(rt, "step") {
			case "set":
				at := now.Add(time.Duration(rapid.IntRange(-5, 100).Draw(rt, "in")) * time.Second)
				set.set(all[n], at)
				model[n] = at
			case "stop":
				set.stop(all[n])
				delete(model, n)
			case "ring":
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "later")) * time.Second)
				rung = nil
				var due []int
				for n, at := range model {
					if !at.After(now) {
						due = append(due, n)
					}
				}
				wait, more := set.ring(now)
				if !slices.IsSortedFunc(rung, func(a, b int) int { return model[a].Compare(model[b]) }) {
					rt.Fatalf("rung out of order: %v", rung)
				}
				for _, n := range due {
					delete(model, n)
				}
				slices.Sort(due)
				slices.Sort(rung)
				if !slices.Equal(due, rung) {
					rt.Fatalf("rung %v, due were %v", rung, due)
				}
				if more != (len(model) > 0) || more && wait <= 0 {
					rt.Fatalf("next in %v, %t, of %d", wait, more, len(model))
				}
			}
		}
		if len(set) != len(model) {
			rt.Fatalf("%d are set, want %d", len(set), len(model))
		}
	})
}
