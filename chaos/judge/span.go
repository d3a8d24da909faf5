package judge

import (
	"math"
	"slices"
	"time"
)

// forever is a moment that does not come.
const forever time.Duration = math.MaxInt64

// span is a time: from is part of it, to is not.
type span struct{ from, to time.Duration }

func (s span) holds(t time.Duration) bool { return s.from <= t && t < s.to }

func within(spans []span, t time.Duration) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.holds(t) })
}

// after adds without passing beyond forever.
func after(t, d time.Duration) time.Duration {
	if t > forever-d {
		return forever
	}
	return t + d
}

// calm returns when a bound that is counted from a moment is over, given times in which it is not counted: after each of
// them it begins anew.
func calm(start, bound time.Duration, excuses ...[]span) time.Duration {
	for again := true; again; {
		again = false
		for _, spans := range excuses {
			for _, s := range spans {
				if s.to > start && s.from < after(start, bound) {
					start, again = s.to, true
				}
			}
		}
	}
	return after(start, bound)
}

// gaps returns what of a time is not covered by spans, which are in order.
func gaps(whole span, spans []span) []span {
	var out []span
	at := whole.from
	for _, s := range spans {
		if s.from > at && at < whole.to {
			out = append(out, span{at, min(s.from, whole.to)})
		}
		at = max(at, s.to)
	}
	if at < whole.to {
		out = append(out, span{at, whole.to})
	}
	return out
}
