package check

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// owners returns who has probed each address, and fails if it was more than one.
func owners(t *testing.T, probes []made) map[string]string {
	t.Helper()
	by := map[string]string{}
	for _, p := range probes {
		if other, was := by[p.addr]; was && other != p.by {
			t.Errorf("%s is probed by %s and by %s", p.addr, p.by, other)
		}
		by[p.addr] = p.by
	}
	return by
}

func TestServersShareTheChecksAndAThirdOneTakesItsPartOnly(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		w.serve("b")
		w.register("orders", 150, ordinary)
		w.pass(30 * time.Second)
		w.since()
		w.pass(30 * time.Second)
		before := owners(t, w.since())
		c := w.serve("c")
		w.pass(30 * time.Second)
		w.since()
		w.pass(30 * time.Second)
		after := owners(t, w.since())
		if len(before) != 150 || len(after) != 150 {
			t.Errorf("%d were checked before, %d after, want 150", len(before), len(after))
		}
		moved := 0
		for addr, by := range after {
			if by == before[addr] {
				continue
			}
			if by != "c" {
				t.Errorf("%s moved from %s to %s because of c", addr, before[addr], by)
			}
			moved++
		}
		if moved < 25 || moved > 75 {
			t.Errorf("%d of 150 moved to the third server, want about a third", moved)
		}
		if stats := c.checker.Stats(); stats.Servers != 3 || stats.Checked != moved {
			t.Errorf("c tells of %d servers and %d checks, want 3 and %d", stats.Servers, stats.Checked, moved)
		}
	})
}

func TestWhatMovesTakesItsReportAlong(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		w.serve("b")
		addrs := w.register("orders", 24, ordinary)
		w.fall("timeout", addrs...)
		for _, addr := range addrs {
			w.becomes("orders", addr, true, time.Minute)
		}
		w.serve("c")
		began := time.Now()
		for time.Since(began) < 20*time.Second { // it settles, and takes over
			for _, addr := range addrs {
				if w.health("orders", addr) == nil {
					t.Fatalf("%s is healthy because it moved", addr)
				}
			}
			w.pass(200 * time.Millisecond)
		}
		w.since()
		w.pass(20 * time.Second)
		for addr, by := range owners(t, w.since()) {
			if told := w.health("orders", addr).Checker; told != by {
				t.Errorf("%s is checked by %s and reported by %s", addr, by, told)
			}
		}
		w.fall("", addrs...)
		w.pass(25 * time.Second)
		if keys := w.etcd.Keys("rollcall/control/"); len(keys) != 0 {
			t.Errorf("%d reports are left though all is well", len(keys))
		}
		w.pass(5 * time.Minute)
		if keys := w.etcd.Keys("rollcall/control/"); len(keys) != 0 {
			t.Errorf("%d reports have come back", len(keys))
		}
	})
}

// leave has a server leave in some way while some instances fail, and returns for how long clients saw one of them healthy, and how long
// it took until all were probed again.
func leave(t *testing.T, w *world, how func(*server)) (healthy, unprobed time.Duration) {
	t.Helper()
	a, _ := w.serve("a"), w.serve("b")
	addrs := w.register("orders", 24, ordinary)
	w.pass(10 * time.Second)
	sick := addrs[:12]
	w.fall("NOT_SERVING", sick...)
	for _, addr := range sick {
		w.becomes("orders", addr, true, time.Minute)
	}
	if of := a.checker.Stats().Failing; of == 0 || of == 12 {
		t.Fatalf("a has %d of the 12 that fail, want some of them", of)
	}
	w.since()
	how(a)
	left := time.Now()
	probed := map[string]bool{}
	for time.Since(left) < 35*time.Second {
		for _, addr := range sick {
			if w.health("orders", addr) == nil {
				healthy += 50 * time.Millisecond
				break
			}
		}
		for _, p := range w.since() {
			probed[p.addr] = probed[p.addr] || p.by == "b"
		}
		all := true
		for _, addr := range addrs {
			all = all && probed[addr]
		}
		if all && unprobed == 0 {
			unprobed = time.Since(left)
		}
		w.pass(50 * time.Millisecond)
	}
	for _, addr := range sick {
		if h := w.health("orders", addr); h == nil || h.Checker != "b" {
			t.Errorf("of %s it is said that %+v, want what a found, by b", addr, h)
		}
	}
	for _, addr := range addrs[12:] {
		if h := w.health("orders", addr); h != nil {
			t.Errorf("%s is unhealthy: %+v", addr, h)
		}
	}
	w.fall("", sick...)
	for _, addr := range sick {
		w.becomes("orders", addr, false, time.Minute)
	}
	return healthy, unprobed
}

func TestWhatAServerFoundOutlivesItsCrash(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		healthy, unprobed := leave(t, w, (*server).kill)
		t.Logf("healthy for %v, all probed again after %v", healthy, unprobed)
		if healthy > 200*time.Millisecond {
			t.Errorf("what a had found was forgotten for %v", healthy)
		}
		if unprobed == 0 || unprobed > 30*time.Second {
			t.Errorf("all were probed again after %v, want a TTL and an interval at most", unprobed)
		}
	})
}

func TestWhatAServerFoundOutlivesItsStop(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		healthy, unprobed := leave(t, w, func(s *server) {
			if err := s.own.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Second) // as a server that stops does: it takes its time
			s.end()
		})
		t.Logf("healthy for %v, all probed again after %v", healthy, unprobed)
		if healthy > 0 {
			t.Errorf("what a had found was forgotten for %v", healthy)
		}
		if unprobed == 0 || unprobed > 12*time.Second {
			t.Errorf("all were probed again after %v, want an interval", unprobed)
		}
	})
}

func TestWhatAServerFoundOutlivesAStopWithoutADrain(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		healthy, _ := leave(t, w, func(s *server) { s.end() })
		if healthy > 200*time.Millisecond {
			t.Errorf("what a had found was forgotten for %v", healthy)
		}
	})
}

func TestAServerThatIsBackWithinSecondsMovesNothingTwice(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, _, _ := w.serve("a"), w.serve("b"), w.serve("c")
		w.register("orders", 90, ordinary)
		w.pass(30 * time.Second)
		w.since()
		w.pass(20 * time.Second)
		before := owners(t, w.since())
		a.kill()
		w.pass(3 * time.Second) // its key is still there
		w.serve("a")
		w.pass(15 * time.Second)
		w.since()
		w.pass(20 * time.Second)
		for addr, by := range owners(t, w.since()) {
			if by != before[addr] {
				t.Errorf("%s moved from %s to %s", addr, before[addr], by)
			}
		}
	})
}

// A wipe makes suspects of all servers for a moment.
func TestAWipeMovesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		for _, name := range []string{"a", "b", "c"} {
			w.serve(name)
		}
		w.register("orders", 90, ordinary)
		w.pass(30 * time.Second)
		w.since()
		w.pass(20 * time.Second)
		before := owners(t, w.since())
		w.etcd.Wipe()
		w.pass(time.Minute)
		for addr, by := range owners(t, w.since()) {
			if by != before[addr] {
				t.Errorf("%s moved from %s to %s", addr, before[addr], by)
			}
		}
	})
}

// Servers that do not check are none: they may be registered by whoever is allowed to, and one that is alone need not be.
func TestAServerThatIsAloneChecksAllRegisteredOrNot(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		s := w.serve("a")
		w.register("orders", 10, ordinary)
		if err := s.own.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(30 * time.Second)
		w.since()
		w.pass(20 * time.Second)
		if n := len(counts(w.since())); n != 10 {
			t.Errorf("%d of 10 are checked", n)
		}
	})
}

func TestOneChangeCostsOneTarget(t *testing.T) {
	c := New(nil, Config{Self: "a"})
	l := newLoop(t.Context(), c)
	view := &rollcall.View{Service: "orders", Revision: 1}
	for i := range 10_000 {
		view.Instances = append(view.Instances, &rollcall.Instance{ID: fmt.Sprintf("%05d", i), Addr: "10.0.0.1:80", Check: &rollcall.Check{Type: rollcall.CheckTCP, Interval: time.Hour}, Revision: 1})
	}
	l.take(&rollcall.Overview{Services: []*rollcall.View{view}, Complete: true})
	if len(l.targets) != 10_000 {
		t.Fatalf("%d targets, want 10,000", len(l.targets))
	}
	before := map[place]*target{}
	for p, target := range l.targets {
		before[p] = target
	}
	next := &rollcall.View{Service: "orders", Revision: 2, Instances: append([]*rollcall.Instance(nil), view.Instances...)}
	changed := *view.Instances[5000]
	changed.Addr, changed.Revision = "10.0.0.2:80", 2
	next.Instances[5000] = &changed
	l.take(&rollcall.Overview{Services: []*rollcall.View{next}})
	others := 0
	for p, target := range l.targets {
		if before[p] != target {
			others++
		}
	}
	if others != 1 || len(l.alarms) != 10_000 {
		t.Errorf("%d targets were made anew and %d alarms are set, want 1 and 10,000", others, len(l.alarms))
	}
}
