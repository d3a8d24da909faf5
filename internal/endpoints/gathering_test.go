package endpoints

import (
	"testing"
	"time"
)

func TestNeighboursWaitForAnEighthAndWhatGoesOnDoubles(t *testing.T) {
	t.Parallel()
	const most = 8 * time.Millisecond
	gathering := Gathering(0, most+1, most)
	for n, want := range []time.Duration{time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, most, most} {
		if gathering != want {
			t.Errorf("change %d after a rest is gathered for %v, want %v", n+1, gathering, want)
		}
		gathering = Gathering(gathering, most, most)
	}
	if got := Gathering(gathering, most+1, most); got != most/8 {
		t.Errorf("after a rest it is %v, want %v", got, most/8)
	}
}
