package check

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

// every ten seconds, down after three, up after two: what an instance gets that says no more than how.
var ordinary = rollcall.Check{Type: rollcall.CheckTCP}

func TestAnInstanceIsUnhealthyAfterSoManyFailuresAndWellAfterSoManySuccesses(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addr := w.register("orders", 2, ordinary)[0]
		w.pass(time.Minute)
		w.fall("connection refused", addr)
		began := time.Now()
		w.since()
		took := w.becomes("orders", addr, true, time.Minute)
		if failures := len(of(w.since(), addr)); failures != 3 {
			t.Errorf("it took %d failures, want 3", failures)
		}
		if took < 18*time.Second || took > 34*time.Second {
			t.Errorf("it took %v, want two to three intervals", took)
		}
		h := w.health("orders", addr)
		if h.Since.Before(began) || h.Since.After(time.Now()) {
			t.Errorf("it fails since %v, want a time from %v on", h.Since, began)
		}
		want := &rollcall.Health{Failing: true, Since: h.Since, Detail: "connection refused", Checker: "a", Revision: h.Revision}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
		w.fall("", addr)
		w.since()
		w.becomes("orders", addr, false, time.Minute)
		if successes := len(of(w.since(), addr)); successes != 2 {
			t.Errorf("it took %d successes, want 2", successes)
		}
	})
}

// of returns the probes of one address.
func of(probes []made, addr string) []made {
	return slices.DeleteFunc(slices.Clone(probes), func(p made) bool { return p.addr != addr })
}

func TestAFailureNowAndThenIsNone(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addr := w.register("orders", 1, ordinary)[0]
		for range 20 {
			w.fall("timeout", addr)
			w.pass(15 * time.Second) // one failure or two
			w.fall("", addr)
			w.pass(15 * time.Second)
			if h := w.health("orders", addr); h != nil {
				t.Fatalf("it is unhealthy: %+v", h)
			}
		}
	})
}

func TestAServerThatCannotProbeBlamesNobodyAndClearsNobody(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addrs := w.register("orders", 2, ordinary)
		w.fall("timeout", addrs[0])
		w.becomes("orders", addrs[0], true, time.Minute)
		w.fall(outcomeVoid, addrs...)
		w.pass(5 * time.Minute)
		if w.health("orders", addrs[0]) == nil || w.health("orders", addrs[1]) != nil {
			t.Errorf("of the one that failed it is said that %+v, of the other that %+v", w.health("orders", addrs[0]), w.health("orders", addrs[1]))
		}
	})
}

func TestNothingIsWrittenWhileAllIsWell(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		s := w.serve("a")
		w.register("orders", 200, ordinary)
		w.pass(30 * time.Second)
		before := w.puts()
		w.since()
		w.pass(5 * time.Minute)
		if n := w.puts() - before; n != 0 {
			t.Errorf("%d writes while all was well", n)
		}
		if n := len(w.since()); n < 200*29 || n > 200*31 {
			t.Errorf("%d probes in five minutes, want 200 × 30", n)
		}
		if n := s.checker.Stats().Reports; n != 0 {
			t.Errorf("%d reports were counted", n)
		}
	})
}

func TestProbesAreSpreadFromTheFirstOn(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.register("orders", 500, ordinary)
		w.serve("a")
		w.pass(5 * time.Minute)
		perSecond := map[time.Time]int{}
		last := map[string]time.Time{}
		gaps := map[time.Duration]bool{}
		for _, p := range w.since() {
			perSecond[p.at.Truncate(time.Second)]++
			gaps[p.at.Sub(last[p.addr]).Truncate(100*time.Millisecond)] = true
			if before, was := last[p.addr]; was && (p.at.Sub(before) < 9*time.Second || p.at.Sub(before) > 11*time.Second) {
				t.Fatalf("%s was probed %v after the last time", p.addr, p.at.Sub(before))
			}
			last[p.addr] = p.at
		}
		if len(gaps) < 15 {
			t.Errorf("from one probe to the next it was %v, want all from 9 s to 11 s: what falls together stays together", gaps)
		}
		if len(last) != 500 {
			t.Errorf("%d instances were probed, want 500", len(last))
		}
		for second, n := range perSecond {
			if n > 100 {
				t.Errorf("%d probes in the second from %v, of 50 on average", n, second)
			}
		}
	})
}

func TestNoMoreProbesAreUnderWayThanAllowedAndHowLateTheyAreIsTold(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		addrs := w.register("orders", 100, rollcall.Check{Type: rollcall.CheckTCP, Interval: 5 * time.Second})
		for _, addr := range addrs {
			w.slow[addr] = time.Hour
		}
		s := w.serve("a", func(c *Config) { c.Concurrency = 10 })
		w.pass(time.Minute)
		stats := s.checker.Stats()
		if w.most != 10 || stats.UnderWay != 10 {
			t.Errorf("%d probes were under way at most and %d are, want 10", w.most, stats.UnderWay)
		}
		// A hundred probes of a second each, ten at a time, take ten seconds, not five.
		if stats.Waiting < 40 || stats.Late.Sum/time.Duration(stats.Late.Count) < 2*time.Second {
			t.Errorf("%d wait and %v is how late %d were in all; want that to be told", stats.Waiting, stats.Late.Sum, stats.Late.Count)
		}
		if got := stats.Late.Counts[len(stats.Late.Counts)-1]; got != stats.Late.Count || stats.Probes["timeout"] != stats.Late.Count {
			t.Errorf("the figures contradict one another: %+v", stats)
		}
		for addr, n := range counts(w.since()) {
			if n < 4 {
				t.Errorf("%s was probed %d times in a minute; all are to have their turn", addr, n)
			}
		}
	})
}

func counts(probes []made) map[string]int {
	n := map[string]int{}
	for _, p := range probes {
		n[p.addr]++
	}
	return n
}

func TestAFlappingInstanceNeedsMoreSuccessesEachTimeUntilItHasBeenCalm(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addr := w.register("orders", 1, ordinary)[0]
		w.pass(20 * time.Second)
		cycle := func() int {
			w.fall("NOT_SERVING", addr)
			w.becomes("orders", addr, true, time.Minute)
			w.fall("", addr)
			w.since()
			w.becomes("orders", addr, false, 5*time.Minute)
			return len(w.since())
		}
		var needed []int
		for range 6 {
			needed = append(needed, cycle())
		}
		w.pass(11 * time.Minute)
		needed = append(needed, cycle())
		if diff := cmp.Diff([]int{2, 4, 8, 16, 16, 16, 2}, needed); diff != "" {
			t.Errorf("successes needed (-want +got):\n%s", diff)
		}
	})
}

func TestARestartBeginsAnew(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addr := w.register("orders", 1, ordinary)[0]
		w.fall("NOT_SERVING", addr)
		w.becomes("orders", addr, true, time.Minute)
		w.since()
		w.register("orders", 1, ordinary)
		w.pass(2 * time.Second)
		if h := w.health("orders", addr); h != nil {
			t.Errorf("the new one is unhealthy: %+v", h)
		}
		if keys := w.etcd.Keys("rollcall/control/"); len(keys) != 0 {
			t.Errorf("what was said of the one before is still there: %v", keys)
		}
		w.becomes("orders", addr, true, time.Minute)
		if n := len(of(w.since(), addr)); n < 3 {
			t.Errorf("the new one is unhealthy after %d failures, want 3", n)
		}
	})
}

func TestAReportGoesWithItsInstance(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		w.fall("timeout", "10.0.0.9:80")
		gone := w.registerOne("10.0.0.9:80")
		w.becomes("orders", "10.0.0.9:80", true, time.Minute)
		if err := gone.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(2 * time.Second)
		if keys := w.etcd.Keys("rollcall/control/"); len(keys) != 0 {
			t.Errorf("reports of an instance that is gone: %v", keys)
		}
		w.since()
		w.pass(time.Minute)
		if probes := w.since(); len(probes) != 0 {
			t.Errorf("it is probed still: %v", probes)
		}
	})
}

func TestAnInstanceThatAsksNoMoreIsNotCheckedAnyMore(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		s := w.serve("a")
		w.fall("timeout", "10.0.0.9:80")
		r := w.registerOne("10.0.0.9:80")
		w.becomes("orders", "10.0.0.9:80", true, time.Minute)
		// To ask for something else is no way out of it.
		if err := r.Update(t.Context(), func(i *rollcall.Instance) { i.Check = &rollcall.Check{Type: rollcall.CheckGRPC} }); err != nil {
			t.Fatal(err)
		}
		w.pass(5 * time.Second)
		if w.health("orders", "10.0.0.9:80") == nil || s.checker.Stats().Failing != 1 {
			t.Errorf("another check made it healthy without a success")
		}
		if err := r.Update(t.Context(), func(i *rollcall.Instance) { i.Check = nil }); err != nil {
			t.Fatal(err)
		}
		w.pass(2 * time.Second)
		if h := w.health("orders", "10.0.0.9:80"); h != nil {
			t.Errorf("it is unhealthy still: %+v", h)
		}
		if stats := s.checker.Stats(); stats.Checked != 0 || stats.Failing != 0 {
			t.Errorf("%d are checked, %d fail, want none", stats.Checked, stats.Failing)
		}
	})
}

func TestADrainingInstanceIsCheckedLikeOthers(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		r := w.registerOne("10.0.0.9:80")
		if err := r.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.fall("timeout", "10.0.0.9:80")
		w.becomes("orders", "10.0.0.9:80", true, time.Minute)
	})
}

func TestProbesGoOnWithoutEtcdAndWhatTheyFoundIsReportedWhenItIsBack(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		s := w.serve("a")
		addrs := w.register("orders", 3, ordinary)
		w.fall("timeout", addrs[0])
		w.becomes("orders", addrs[0], true, time.Minute)
		w.etcd.Member(0).Kill()
		w.fall("", addrs[0])
		w.fall("connection refused", addrs[1])
		w.since()
		w.pass(3 * time.Minute)
		for addr, n := range counts(w.since()) {
			if n < 16 {
				t.Errorf("%s was probed %d times in three minutes", addr, n)
			}
		}
		if stats := s.checker.Stats(); stats.ReportFailures == 0 || stats.Failing != 1 {
			t.Errorf("%d reports failed and %d instances do, want some, and one", stats.ReportFailures, stats.Failing)
		}
		w.etcd.Member(0).Start()
		w.becomes("orders", addrs[1], true, time.Minute)
		w.becomes("orders", addrs[0], false, time.Minute)
		w.pass(time.Minute)
		if keys := w.etcd.Keys("rollcall/control/"); len(keys) != 1 {
			t.Errorf("reports when all is said: %v", keys)
		}
	})
}

func TestReportsAreBackAfterAWipe(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		w.serve("b")
		addrs := w.register("orders", 10, ordinary)
		w.fall("timeout", addrs[:3]...)
		for _, addr := range addrs[:3] {
			w.becomes("orders", addr, true, time.Minute)
		}
		w.etcd.Wipe()
		w.pass(20 * time.Second)
		w.since()
		for n, addr := range addrs {
			if sick := w.health("orders", addr) != nil; sick != (n < 3) {
				t.Errorf("%s is unhealthy: %t", addr, sick)
			}
		}
		w.fall("", addrs[:3]...)
		for _, addr := range addrs[:3] {
			w.becomes("orders", addr, false, time.Minute)
		}
		w.pass(time.Minute)
		if keys := w.etcd.Keys("rollcall/control/"); len(keys) != 0 {
			t.Errorf("reports though all is well: %v", keys)
		}
	})
}

func TestWhatSomebodyElseReportedIsTakenOverAndProbesDecide(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addr := w.register("orders", 1, ordinary)[0]
		w.pass(20 * time.Second)
		v, err := w.reg.Lookup(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		i, _ := v.Get(addr)
		since := time.Now().Add(-time.Hour).UTC()
		foreign := w.open()
		if err := foreign.ReportHealth(t.Context(), "orders", addr, i.Incarnation, &rollcall.Health{Failing: true, Since: since, Detail: "timeout", Checker: "ghost"}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		if h := w.health("orders", addr); h == nil || h.Checker != "a" || !h.Since.Equal(since) || h.Detail != "timeout" {
			t.Errorf("the report is %+v, want the ghost's, by a", h)
		}
		w.becomes("orders", addr, false, time.Minute)
		w.pass(10 * time.Minute)
		if h := w.health("orders", addr); h != nil {
			t.Errorf("it came back: %+v", h)
		}
	})
}

func TestAReportThatSomebodyElseTookAwayIsMadeAgain(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addr := w.register("orders", 1, ordinary)[0]
		w.fall("timeout", addr)
		w.becomes("orders", addr, true, time.Minute)
		v, err := w.reg.Lookup(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		i, _ := v.Get(addr)
		foreign := w.open()
		for _, h := range []*rollcall.Health{{Failing: true, Checker: "ghost"}, nil} {
			if err := foreign.ReportHealth(t.Context(), "orders", addr, i.Incarnation, h); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Second)
		}
		w.pass(12 * time.Second)
		if h := w.health("orders", addr); h == nil || h.Checker != "a" {
			t.Errorf("of an instance that fails it is said that %+v", h)
		}
		w.fall("", addr)
		w.becomes("orders", addr, false, time.Minute)
	})
}

func TestWhatSomebodyElseReportedOfAnInstanceThatFailsIsTakenAwayWithoutFurtherProbes(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addr := w.register("orders", 1, rollcall.Check{Type: rollcall.CheckTCP, Rise: 1})[0]
		w.fall("timeout", addr)
		w.becomes("orders", addr, true, time.Minute)
		v, err := w.reg.Lookup(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		i, _ := v.Get(addr)
		if err := w.open().ReportHealth(t.Context(), "orders", addr, i.Incarnation, &rollcall.Health{Failing: true, Checker: "ghost"}); err != nil {
			t.Fatal(err)
		}
		w.fall("", addr)
		w.pass(100 * time.Millisecond)
		w.since()
		w.becomes("orders", addr, false, time.Minute)
		if n := len(w.since()); n != 1 {
			t.Errorf("it took %d successes, want one", n)
		}
		w.pass(time.Minute)
		if h := w.health("orders", addr); h != nil {
			t.Errorf("it came back: %+v", h)
		}
	})
}

func TestWhatChangesWhileItIsWrittenIsWrittenAfterwards(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		s := w.serve("a")
		addr := w.register("orders", 1, rollcall.Check{Type: rollcall.CheckTCP, Interval: time.Second, Fall: 1, Rise: 1})[0]
		w.pass(5 * time.Second)
		fails := func(n int) {
			for s.checker.Stats().Failing != n {
				w.pass(10 * time.Millisecond)
			}
		}
		w.etcd.Member(0).Slow(1500 * time.Millisecond)
		w.fall("timeout", addr)
		fails(1)
		w.fall("", addr)
		fails(0)
		if n := s.checker.Stats().Reports; n != 0 {
			t.Fatalf("%d reports were written already: it is no test", n)
		}
		w.etcd.Member(0).Heal()
		w.pass(20 * time.Second)
		if h := w.health("orders", addr); h != nil || len(w.etcd.Keys("rollcall/control/")) > 0 {
			t.Errorf("it is unhealthy still: %+v", h)
		}
	})
}

// It came while this server was about to say something itself, so that it was left alone then.
func TestWhatSomebodyElseReportedIsTakenOverAtTheNextProbeAtTheLatest(t *testing.T) {
	l := newLoop(t.Context(), New(nil, Config{Self: "a"}))
	l.writing = reportsAtOnce // nothing is written here
	check := ordinary.WithDefaults()
	p := place{"orders", "10.0.0.1:80"}
	target := l.aim(p, &rollcall.Instance{ID: p.id, Incarnation: "i"}, check, p.id)
	target.seen = &rollcall.Health{Failing: true, Checker: "ghost"}
	l.weigh(target, outcomeWell, time.Now())
	if r := l.reports[p]; !target.verdict.failing || r == nil || r.want.health.Checker != "a" {
		t.Errorf("the verdict is %+v, the report %+v", target.verdict, r)
	}
}

func TestManyThatFallAtOnceAreReportedAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.serve("a")
		addrs := w.register("orders", 150, ordinary)
		w.pass(20 * time.Second)
		w.fall("unreachable", addrs...)
		w.pass(35 * time.Second)
		v, err := w.reg.Lookup(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range v.Instances {
			if i.Healthy() {
				t.Fatalf("%s is healthy after three intervals and a half", i.ID)
			}
		}
		if n := len(slices.Collect(v.Ready())); n != 150 {
			t.Errorf("with all of them unhealthy %d are to be called, want all", n)
		}
	})
}

func TestItEndsWithItsContextOrItsRegistry(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		reg := w.open(rollcall.WithFollowAll())
		ended := make(chan error, 1)
		go func() { ended <- New(reg, Config{Self: "a"}).Run(context.Background()) }()
		w.pass(time.Second)
		if err := reg.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Error("it ended without an error though its registry was closed")
		}
		if err := New(w.open(), Config{Self: "a"}).Run(t.Context()); err == nil {
			t.Error("it runs on a registry that does not follow everything")
		}
	})
}

func TestChecksOfLaterVersionsAreLeftAlone(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		s := w.serve("a")
		for n, check := range []string{`{"Type":"icmp"}`, `{"Type":"tcp","Fall":-3,"Rise":-1,"Interval":"1ms","Timeout":"1h"}`} {
			if err := w.etcd.PutKey(fmt.Sprintf("rollcall/services/orders/x%d", n), fmt.Sprintf(`{"Op":0,"Addr":"10.0.0.%d:80","Check":%s}`, n, check), 0); err != nil {
				t.Fatal(err)
			}
		}
		w.pass(10 * time.Second)
		if n := s.checker.Stats().Checked; n != 1 {
			t.Errorf("%d are checked, want the one whose type is known", n)
		}
		for addr, n := range counts(w.since()) {
			if addr != "10.0.0.1:80" || n > 11 {
				t.Errorf("%s was probed %d times in ten seconds; no interval is shorter than one", addr, n)
			}
		}
	})
}
