package simulation

import (
	"slices"
	"testing"
	"time"
)

// maxTries is how many messages of one kind in a run are points to act at: the tenth try to reach a member that is down
// is like the third.
const maxTries = 3

// pointsOf runs an operation alone and returns the points to act at. The short tests, and those with the race detector, take every third of them.
func pointsOf(t *testing.T, alone course, offset int) (at []int) {
	t.Helper()
	alone.at = -1
	names, _ := alone.run(t)
	if len(names) == 0 {
		t.Fatalf("%s exchanges no message: the test shows nothing", alone.first.name)
	}
	tries := map[string]int{}
	for n, name := range names {
		tries[name]++
		if tries[name] <= maxTries && (!testing.Short() && !raceDetector || n%3 == offset%3) {
			at = append(at, n)
		}
	}
	return at
}

// raceAll runs every pair, the second operation at each point of the first.
func raceAll(t *testing.T, c course, firsts, seconds []operation) {
	t.Helper()
	for _, first := range firsts {
		for n, second := range seconds {
			t.Run(first.name+" and "+second.name, func(t *testing.T) {
				t.Parallel()
				c := c
				c.first = first
				points := pointsOf(t, c, n)
				met := 0
				c.second = second
				for _, c.at = range points {
					if _, acted := c.run(t); acted {
						met++
					}
				}
				if met < len(points)/2 {
					t.Errorf("%d of %d points were met", met, len(points))
				}
				t.Logf("%d interleavings", met)
			})
		}
	}
}

// calamities is what comes across calls from outside, and calls what users do about a registration that is there.
var (
	calamities = []operation{cancels, loses, swallows, cutsShort, cutsMember, hangsMember, hangsLeader, revokes, deletes, wipes, restarts}
	calls      = []operation{registers, registersOther, updates, drains, leaves, closes}
	lossy      = []operation{
		closes.with(breaks), closes.with(falls), leaves.with(breaks), leaves.with(falls),
		cancels.with(breaks), cancels.with(falls), registers.with(breaks), registers.with(falls),
	}
)

func TestAFirstRegistrationRacedAtEveryPointLeavesNothing(t *testing.T) {
	raceAll(t, course{}, []operation{registers, watches, looks},
		slices.Concat([]operation{registers, registersOther, contenders, closes, closes.with(breaks), closes.with(falls)}, calamities))
}

func TestTwoCallsAtOnceLeaveNothingAtWhicheverPointTheyMeet(t *testing.T) {
	raceAll(t, course{held: true}, slices.Concat(calls, []operation{watches}), slices.Concat(calls, []operation{contenders}))
}

func TestACallThatACalamityStrikesAtAnyPointLeavesNothing(t *testing.T) {
	raceAll(t, course{held: true}, slices.Concat(calls, []operation{watches, lives}), slices.Concat(calamities, lossy))
}

func TestARegistrationThatIsHealingTakesCallsAtAnyPoint(t *testing.T) {
	healing := []operation{
		healsFrom(revokes, 3*time.Second), healsFrom(deletes, time.Second), healsFrom(wipes, 6*time.Second), healsFrom(cutsShort, 3*time.Second),
	}
	raceAll(t, course{held: true}, healing, slices.Concat(calls, []operation{contenders, loses, swallows, cutsShort, revokes, deletes}))
}

func TestALoginRacedAtEveryPointLeavesNothing(t *testing.T) {
	raceAll(t, course{logins: true}, []operation{registers, looks},
		slices.Concat([]operation{contenders, closes, closes.with(breaks), closes.with(falls)}, calamities[:7]))
}

// A message that is held up while the other call goes on, and arrives when that is long over or has given up.
func TestTwoCallsThatMeetALateMessageLeaveNothing(t *testing.T) {
	var seconds []operation
	for _, call := range slices.Concat(calls, []operation{contenders}) {
		seconds = append(seconds, call.slowly(5*time.Second)) // longer than anything waits
	}
	raceAll(t, course{held: true}, slices.Concat(calls, []operation{lives}), seconds)
}
