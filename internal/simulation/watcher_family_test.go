package simulation

import (
	"slices"
	"testing"
)

// watchers is the family of schedules that are about following a service: nobody registers by the library.
func watchers() family {
	faults := slices.Concat(illnesses(), absences(), disasters(), []fault{mute, expiry})
	return family{name: "watchers", writers: 4, watchers: 2, passwords: true, faults: faults, schedule: everything, strikes: newStrikes()}
}

func TestSimulatedWatchersSeeWhatEtcdHoldsOrSayThatTheyAreStale(t *testing.T) {
	f := watchers()
	complete := playAll(t, f, 500)
	f.strikes.report(t, f.faults, complete)
}
