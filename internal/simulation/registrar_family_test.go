package simulation

import (
	"slices"
	"testing"
	"time"
)

// registrars is the family of schedules that are about keeping instances registered: nobody watches.
func registrars() family {
	faults := slices.Concat(illnesses(), absences(), disasters(), refusals(), []fault{expiry})
	return family{name: "registrars", registries: 1, each: 3, passwords: true, faults: faults, schedule: everything, strikes: newStrikes()}
}

// everything lets faults happen one after another, with pauses, some of them in the middle of others; then it waits for
// the world to settle.
func everything(w *world) {
	for time.Since(w.began) < *simFor && w.broken == nil {
		pause := w.upTo(8 * time.Second)
		if w.rnd.IntN(5) == 0 {
			pause += quiet
		}
		if !w.pass(pause) {
			break
		}
		f := w.faults[w.rnd.IntN(len(w.faults))]
		if f.kind == expiry.kind && !w.auth {
			continue
		}
		w.strikes.count(f.kind, f.strike(w))
		w.churn()
	}
	w.settle()
}

// settle waits until everything must be as wanted, and checks that it is.
func (w *world) settle() {
	w.note("settling")
	if w.pass(40 * time.Second) {
		w.oracle.judgeWanted()
	}
}

func TestSimulatedRegistrarsKeepEveryInstanceThroughEveryFault(t *testing.T) {
	f := registrars()
	complete := playAll(t, f, 500)
	f.strikes.report(t, f.faults, complete)
}
