package check

import (
	"time"

	"github.com/rollcall-io/rollcall"
)

const (
	// calm is how long an instance has to be well before its next fall counts as the first again; or so many of its intervals, if that is longer.
	calm          = 10 * time.Minute
	calmIntervals = 10

	// maxDamping limits by how much a flapping instance needs more successes to be well again.
	maxDamping = 8
)

// verdict is what the outcomes of probes amount to, of one incarnation. The zero verdict has nothing against it.
type verdict struct {
	failing bool
	since   time.Time // when it was found to fail
	detail  string    // what was met then

	against int       // outcomes in a row that speak against the verdict
	risen   time.Time // when it was last found to be well again; zero: never
	damping int       // the successes needed are so many times what the check asks for; 0 is 1
}

// hear takes an outcome, "" for a success, and reports whether the verdict is another one now.
func (v *verdict) hear(now time.Time, outcome string, check rollcall.Check) bool {
	if (outcome != "") == v.failing {
		v.against = 0
		return false
	}
	v.against++
	if v.against < v.needed(check) {
		return false
	}
	if v.failing {
		v.rise(now)
	} else {
		v.fall(now, outcome, check.Interval)
	}
	return true
}

// needed is how many outcomes in a row change the verdict.
func (v *verdict) needed(check rollcall.Check) int {
	if v.failing {
		return check.Rise * max(v.damping, 1)
	}
	return check.Fall
}

// fall is harder to get up from each time, for an instance that falls soon after it was well.
func (v *verdict) fall(now time.Time, detail string, interval time.Duration) {
	flaps := !v.risen.IsZero() && now.Sub(v.risen) <= max(calm, calmIntervals*interval)
	if flaps {
		v.damping = min(2*max(v.damping, 1), maxDamping)
	} else {
		v.damping = 1
	}
	v.failing, v.since, v.detail, v.against = true, now, detail, 0
}

func (v *verdict) rise(now time.Time) {
	v.failing, v.since, v.detail, v.against = false, time.Time{}, "", 0
	v.risen = now
}

// adopt goes on from what another one found. Its successes in a row are not known, nor how often it fell before.
func (v *verdict) adopt(h *rollcall.Health) {
	v.failing, v.since, v.detail, v.against = true, h.Since, h.Detail, 0
}
