package check

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall"
)

func TestAVerdictIsChangedByOutcomesInARowOnly(t *testing.T) {
	start := time.Date(2026, 11, 22, 6, 31, 0, 0, time.UTC)
	check := rollcall.Check{Interval: 10 * time.Second, Fall: 3, Rise: 2}
	for _, row := range []struct{ outcomes, verdicts string }{
		{"++++++", "++++++"},
		{"--+--+--+", "+++++++++"},
		{"---", "++-"},
		{"---+-+-+-", "++-------"},
		{"---++", "++--+"},
		{"---++--+--", "++--++++++"},
		{"---++---++++", "++--+++----+"}, // the second time it takes twice as many
	} {
		var v verdict
		var got strings.Builder
		for n, c := range row.outcomes {
			outcome := ""
			if c == '-' {
				outcome = "timeout"
			}
			before := v.failing
			if changed := v.hear(start.Add(time.Duration(n)*check.Interval), outcome, check); changed != (v.failing != before) {
				t.Errorf("%s: outcome %d changed the verdict: %t", row.outcomes, n, changed)
			}
			if v.failing {
				got.WriteByte('-')
			} else {
				got.WriteByte('+')
			}
		}
		if got.String() != row.verdicts {
			t.Errorf("%s: verdicts %s, want %s", row.outcomes, got.String(), row.verdicts)
		}
	}
}

// However outcomes come, a verdict changes after as many in a row as it takes, and damping stays within its limits.
func TestDampingNeverNeedsMoreThanEightTimesTheSuccesses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		check := rollcall.Check{
			Interval: time.Duration(rapid.IntRange(1, 3600).Draw(rt, "interval")) * time.Second,
			Fall:     rapid.IntRange(1, 5).Draw(rt, "fall"), Rise: rapid.IntRange(1, 5).Draw(rt, "rise"),
		}
		var v verdict
		now, row := time.Unix(0, 0), 0
		for range rapid.IntRange(1, 500).Draw(rt, "outcomes") {
			outcome := rapid.SampledFrom([]string{"", "", "", "timeout"}).Draw(rt, "outcome")
			before := v
			if (outcome != "") != v.failing {
				row++
			} else {
				row = 0
			}
			needed := check.Fall
			if v.failing {
				needed = check.Rise * max(v.damping, 1)
			}
			changed := v.hear(now, outcome, check)
			if changed != (row >= needed) {
				rt.Fatalf("changed %t after %d of %d in a row, from %+v to %+v", changed, row, needed, before, v)
			}
			if changed {
				row = 0
			}
			if v.damping < 0 || v.damping > maxDamping || v.failing && v.damping < 1 {
				rt.Fatalf("damping %d", v.damping)
			}
			now = now.Add(check.Interval)
		}
	})
}

func TestAnIntervalOfAnHourIsDampedToo(t *testing.T) {
	check := rollcall.Check{Interval: time.Hour, Fall: 1, Rise: 1}
	var v verdict
	now := time.Unix(0, 0)
	hear := func(outcome string) {
		now = now.Add(check.Interval)
		v.hear(now, outcome, check)
	}
	hear("timeout")
	hear("")
	hear("timeout")
	if v.damping != 2 {
		t.Errorf("damping %d after the second fall, want 2", v.damping)
	}
}
