package endpoints

import "time"

// Gathering is how long changes are gathered after one that was passed on, so long after the one before it, which had been gathered for the
// last while; most is as much as that may be. Of two that are further apart than that the next is a neighbour by chance, and is not to wait
// for more than an eighth; while they go on the time doubles.
func Gathering(last, since, most time.Duration) time.Duration {
	if since > most {
		return most / 8
	}
	return min(2*last, most)
}
