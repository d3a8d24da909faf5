package simulation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// everybody is a family with registries that register and one that watches them.
func everybody(faults ...[]fault) family {
	return family{registries: 4, each: 3, watchers: 2, passwords: true, faults: slices.Concat(faults...), schedule: everything, strikes: newStrikes()}
}

func TestSimulatedMinorityFaultsAndOutagesDeleteNobody(t *testing.T) {
	playAll(t, everybody(illnesses(), absences()), 40)
}

func TestSimulatedDisastersLoseNothingForGood(t *testing.T) {
	playAll(t, everybody(illnesses(), absences(), disasters(), disasters(), refusals(), []fault{expiry}), 40)
}

// Each member hangs in turn, the one that the watch is on among them, and says nothing of it.
func TestSimulatedMembersThatHangLeaveNoViewBehindInSilence(t *testing.T) {
	f := family{writers: 2, watchers: 2, schedule: hangInTurn}
	playAll(t, f, 8)
}

func hangInTurn(w *world) {
	hang := func(m *simetcd.Member) {
		w.note("hang %s", m.Name())
		w.ill++
		m.Hang()
		w.pass(w.upTo(5 * time.Second))
		id := fmt.Sprint("late-", m.Name())
		_ = w.cluster.PutKey(dir+id, stranger, 0)
		w.pass(silence + visible)
		m.Resume()
		w.ill--
		w.note("resume %s", m.Name())
		w.cluster.DeleteKey(dir + id)
	}
	for range 2 {
		for _, m := range w.cluster.Members() {
			hang(m)
		}
	}
	w.pass(quiet)
}
