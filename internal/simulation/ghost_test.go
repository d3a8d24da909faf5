package simulation

import (
	"errors"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// A ghost is what a backup brings back of a holder that is no more: it ends with its lease, and nobody may yield to it.
// What happens to etcd beside must not make it look alive.
func TestAGhostEndsNobodyWhateverElseHappensToEtcd(t *testing.T) {
	for name, beside := range map[string]func(w *world, playBack, older func() bool){
		"a restore": func(_ *world, playBack, _ func() bool) { playBack() },
		"an election that renews its lease": func(w *world, playBack, _ func() bool) {
			playBack()
			w.pass(8 * time.Second)
			w.strike(w.cluster.Restart)
		},
		"a second restore, with another ghost": func(w *world, playBack, older func() bool) {
			playBack()
			w.pass(5 * time.Second)
			older()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scene(t, family{grace: sceneTTL + 2*time.Second}, func(w *world) {
				playBack, older := w.haunt()
				w.pass(time.Minute)
				beside(w, playBack, older)
				w.pass(2 * time.Minute)
				w.oracle.judgeWanted()
			})
		})
	}
}

// Revision and term do not go back when a backup is restored as etcd recommends it. The ghost's write does: it is older
// than ours, as no other holder's can be in a history that did not break.
func TestAGhostOfABackupWhoseRevisionsWereBumpedEndsNobody(t *testing.T) {
	t.Parallel()
	scene(t, family{grace: sceneTTL + 2*time.Second}, func(w *world) {
		holders := []*registrant{w.join(), w.join(), w.join()}
		holders[0].register(contested, patience)
		w.check()
		snapshot, base, lease := w.cluster.Snapshot(), w.cluster.Keys(dir), w.cluster.Leases()[0]
		w.succeed(holders[0], holders[1])
		w.succeed(holders[1], holders[2])
		w.pass(time.Minute)
		const bump = 1_000_000
		w.strike(func() {
			w.replace(func() { w.cluster.Restore(snapshot, bump) }, snapshot.Revision()+bump, base, map[int64]bool{lease: true})
		})
		w.pass(2 * time.Minute)
		w.oracle.judgeWanted()
	})
}

// haunt has the contested id change hands three times. It returns what plays back a backup from when the second had it, and
// an older one from when the first did. The last one replaced the third: it knows neither of them.
func (w *world) haunt() (playBack, older func() bool) {
	var holders []*registrant
	for range 4 {
		holders = append(holders, w.join())
	}
	holders[0].register(contested, patience)
	older = w.backup()
	w.succeed(holders[0], holders[1])
	playBack = w.backup()
	w.succeed(holders[1], holders[2])
	w.succeed(holders[2], holders[3])
	return playBack, older
}

// succeed has the contested id taken over from a registrant that then ends.
func (w *world) succeed(from, by *registrant) {
	w.takeOver(by, from)
	from.close()
}

// A restore may leave a key as it was. What happens long after it happens in a history that has not broken since.
func TestAReplacedRegistrationIsToldAtOnceAlsoLongAfterARestore(t *testing.T) {
	t.Parallel()
	scene(t, family{}, func(w *world) {
		replaced, by := w.join(), w.join()
		replaced.register(contested, patience)
		playBack := w.backup()
		replaced.register("later", patience) // what the restore takes away shows the registry that history broke
		w.grow()
		playBack()
		w.pass(30 * time.Minute)
		s := replaced.live[contested]
		w.takeOver(by, replaced)
		w.pass(time.Second)
		if err := s.Err(); !errors.Is(err, rollcall.ErrReplaced) {
			t.Errorf("a second after it was replaced it is told: %v", err)
		}
	})
}
