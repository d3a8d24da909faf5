package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

const (
	service = "svc"
	dir     = "rollcall/services/" + service + "/" // where the instances of the service lie
)

// family is a kind of schedule.
type family struct {
	name       string
	registries int // that register instances
	each       int // instances of each
	writers    int // that write instances without the library
	watchers   int // of one registry more, when there are any
	passwords  bool
	faults     []fault
	schedule   func(*world)
	strikes    *strikes

	registrar func(*world, *tap) (registrar, error) // the library's unless set
	client    func(*world) clientOptions            // what is done to the watchers' client
	options   []rollcall.Option                     // of the watchers' registry
	grace     time.Duration                         // how much longer than elsewhere an instance may be away
}

// world is one schedule being played: a cluster, those who use it, and the oracle. Everything in it belongs to the
// goroutine that plays.
type world struct {
	family
	t       testing.TB
	seed    uint64
	rnd     *rand.Rand
	cluster *simetcd.Cluster
	began   time.Time
	broken  *violation
	log     []string
	auth    bool

	registrars []*registrant
	processes  []*process
	watch      *watch
	oracle     *oracle

	ending      chan struct{} // closed when everybody is about to close
	ill         int           // faults that last now
	calmSince   time.Time     // the end of the last fault, and of the last strike
	struckAt    time.Time     // when a stranger last did something to the store at once
	quietBefore time.Duration // for how long there had been no fault then
	darkSince   time.Time     // since when nobody has heard anything of etcd; zero while somebody may
	ledSince    time.Time     // since when there is a leader
	agenda      []task
}

// task is something that is to be done later.
type task struct {
	at time.Time
	do func()
}

func newWorld(t testing.TB, f family, seed uint64) *world {
	w := &world{family: f, t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, seed)), began: time.Now(), calmSince: time.Now(), ending: make(chan struct{})}
	w.auth = f.passwords && seed%3 == 0
	w.cluster = simetcd.New(simetcd.Options{Members: []string{"m1", "m2", "m3"}, TokenTTL: 20 * time.Second})
	w.setAuth()
	w.oracle = newOracle(w)
	for range w.rnd.IntN(200) {
		w.fill(1)
	}
	w.fill(500)
	for n := range f.registries {
		w.addRegistrant(n)
	}
	for n := range f.writers {
		w.addProcess(n)
	}
	if f.watchers > 0 {
		w.addWatch()
	}
	w.check()
	return w
}

// fill makes revisions that concern nobody: so many that a store that lost them is seen to have gone back.
func (w *world) fill(n int) {
	for range n {
		_ = w.cluster.PutKey("elsewhere", "", 0)
	}
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8.3fs ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// fail notes that an invariant does not hold. Only the first one counts: what follows may follow from it.
func (w *world) fail(invariant, format string, args ...any) {
	if w.broken != nil {
		return
	}
	what := fmt.Sprintf(format, args...)
	w.note("BROKEN: %s: %s", invariant, what)
	w.broken = &violation{seed: w.seed, invariant: invariant, what: what, timeline: w.log}
}

// later has something done after a while.
func (w *world) later(d time.Duration, do func()) {
	w.agenda = append(w.agenda, task{time.Now().Add(d), do})
}

// pass lets time pass, does what is due, and has the oracle look at least once a second. It reports whether all is well.
func (w *world) pass(d time.Duration) bool {
	until := time.Now().Add(d)
	for w.broken == nil {
		w.doDue()
		w.check()
		left := time.Until(until)
		if left <= 0 {
			break
		}
		time.Sleep(min(left, time.Second))
	}
	return w.broken == nil
}

func (w *world) doDue() {
	var kept []task
	due := w.agenda
	w.agenda = nil
	for _, t := range due {
		if time.Until(t.at) <= 0 {
			t.do()
		} else {
			kept = append(kept, t)
		}
	}
	w.agenda = append(kept, w.agenda...)
}

// check has the oracle look, when everybody has done what there is to do now.
func (w *world) check() {
	synctest.Wait()
	led := w.cluster.Leader() != nil
	if !led {
		w.ledSince = time.Now()
	}
	if w.ill > 0 || !led {
		w.calmSince = time.Now()
	}
	w.oracle.look()
}

// strike does something to the store at once.
func (w *world) strike(do func()) {
	w.check()
	w.quietBefore, w.struckAt = w.calm(), time.Now()
	w.calmSince = w.struckAt
	do()
}

// calm returns for how long there has been no fault.
func (w *world) calm() time.Duration { return time.Since(w.calmSince) }

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rnd.Int64N(int64(d))) }

// within returns a context of the world's own time. It ends by itself.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// end closes everything, and checks that nothing is left. It runs whether or not an invariant broke before.
func (w *world) end() {
	close(w.ending)
	if w.watch != nil {
		w.watch.close()
	}
	for _, r := range w.registrars {
		r.close()
	}
	w.check()
	w.oracle.nothingLeft()
	w.cluster.Stop()
}
