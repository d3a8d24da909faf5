package balancer

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

func TestAConfigIsTakenOverWithoutAnotherConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := versions(map[string]int{"v1": 8, "v2": 2})
		for n, i := range all {
			i.Zone = []string{"a", "b"}[n%2]
		}
		c, s := connected(t, "a", Config{}, all...)
		shares := func(kind func(*rollcall.Instance) string) map[string]float64 {
			t.Helper()
			if s := c.connectivity(); s != connectivity.Ready {
				t.Errorf("the channel is %v", s)
			}
			counts := sum(s, c.picks(10_000), kind)
			of := map[string]float64{}
			for kind, n := range counts {
				of[kind] = float64(n) / 10_000
			}
			return of
		}
		take := func(cfg Config) {
			c.configured(cfg)
			c.again()
			for range 100 {
				c.pick(t.Context()).succeed()
			}
			c.quiet()
		}
		if of := shares(zoneOf); of["a"] != 1 {
			t.Errorf("by zone: %v", of)
		}
		take(Config{IgnoreZones: true})
		if of := shares(zoneOf); of["a"] != 0.5 {
			t.Errorf("by zone: %v, want a half", of)
		}
		take(Config{IgnoreZones: true, Split: map[string]float64{"v2": 50}})
		if of := shares(versionOf); of["v2"] < 0.499 || of["v2"] > 0.501 {
			t.Errorf("by version: %v, want a half", of)
		}
		take(Config{IgnoreZones: true, Split: map[string]float64{"v2": 1}, Pick: LeastRequest})
		if of := shares(versionOf); of["v2"] < 0.005 || of["v2"] > 0.015 {
			t.Errorf("by version: %v, want 0.01 of v2", of)
		}
		if !mustTable(c.picker()).least {
			t.Error("calls do not go by least request")
		}
		take(Config{})
		if of := shares(zoneOf); of["a"] != 1 {
			t.Errorf("by zone: %v", of)
		}
		take(Config{IgnoreZones: true, Subset: Subset{Size: 4}})
		if got := len(c.addresses()); got != 4 {
			t.Errorf("there are %d connections, want 4", got)
		}
		if got := len(c.picks(1000)); got != 4 {
			t.Errorf("%d are called, want 4", got)
		}
		for addr, n := range c.made {
			if n != 1 {
				t.Errorf("%d connections were made to %s, want 1", n, addr)
			}
		}
		take(Config{IgnoreZones: true, Subset: Subset{Size: 6}})
		c.connect()
		c.quiet()
		if got := len(c.picks(1000)); got != 6 {
			t.Errorf("%d are called, want 6", got)
		}
		made := 0
		for _, n := range c.made {
			made += n
		}
		if made != 12 {
			t.Errorf("%d connections were made, want 10 and then 2", made)
		}
	})
}

func TestEjectionThatIsSwitchedOffTakesNobodyOutAnyMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, "", Config{Ejection: Ejection{Time: time.Hour}}, instances(0, 3)...)
		failAt(c, rollcall.DefaultEjectionFailures, addr(0))
		c.configured(Config{Ejection: Ejection{Disabled: true}})
		c.again()
		c.quiet()
		if got := len(c.picks(300)); got != 3 {
			t.Errorf("%d are called, want 3", got)
		}
	})
}

func TestAServiceWithoutInstancesFailsFastAndSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 2)...)
		s.remove(addr(0), addr(1))
		c.show(s.next())
		_, err := pick(t.Context(), c.picker())
		if err == nil || err == lb.ErrNoSubConnAvailable || !strings.Contains(err.Error(), "svc has no instances") {
			t.Errorf("a call gets %v", err)
		}
		if got := c.addresses(); len(got) > 0 {
			t.Errorf("there are connections: %v", got)
		}
		s.put(instance(5))
		c.show(s.next())
		if c.connectivity() != connectivity.Connecting {
			t.Errorf("the channel is %v when there is somebody to connect to", c.connectivity())
		}
		c.connect()
		c.pick(t.Context())
	})
}

func TestWhatTheResolverMetIsSaidWhileNothingIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newChannel(t, "", Config{}), newService(instances(0, 2)...)
		c.ResolverError(errors.New("no etcd in sight"))
		_, err := pick(t.Context(), c.picker())
		if err == nil || !strings.Contains(err.Error(), "no etcd in sight") {
			t.Errorf("a call gets %v", err)
		}
		c.show(s.next())
		c.connect()
		published := len(c.published())
		c.ResolverError(errors.New("no etcd in sight"))
		if len(c.published()) != published {
			t.Error("who knows instances minds that the resolver does not")
		}
		c.pick(t.Context())
	})
}

func TestWhenNobodyCanBeConnectedToCallsAreToldWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newChannel(t, "", Config{}), newService(instances(0, 2)...)
		c.show(s.next())
		for n := range 2 {
			if s := c.connectivity(); s != connectivity.Connecting {
				t.Errorf("with %d of 2 out of reach the channel is %v", n, s)
			}
			c.become(addr(n), connectivity.Connecting)
			c.become(addr(n), connectivity.TransientFailure)
		}
		_, err := pick(t.Context(), c.picker())
		if err == nil || !strings.Contains(err.Error(), "none of 2 instances") || !strings.Contains(err.Error(), "refused by "+addr(1)) {
			t.Errorf("a call gets %v", err)
		}
		for range 3 { // as long as nobody answers, it stays so while gRPC tries again
			c.become(addr(0), connectivity.Idle)
			if !c.conn(addr(0)).wants {
				t.Error("gRPC is not asked to try again")
			}
			c.become(addr(0), connectivity.Connecting)
			if s := c.connectivity(); s != connectivity.TransientFailure {
				t.Errorf("while gRPC tries again the channel is %v", s)
			}
			c.become(addr(0), connectivity.TransientFailure)
		}
		c.become(addr(0), connectivity.Ready)
		c.pick(t.Context())
	})
}

// A channel that gRPC has closed may be told of anything that was under way.
func TestNothingHappensAfterClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{SlowStart: time.Minute}, instances(0, 5)...)
		s.put(instance(5))
		c.show(s.next())
		c.connect() // a table is due
		under := c.pick(t.Context())
		health := under.conn.health
		conns := c.addresses()
		c.Close()
		if got := c.addresses(); len(conns) != 6 || len(got) > 0 {
			t.Fatalf("of the connections %v are left: %v", conns, got)
		}
		published := len(c.published())
		for _, sc := range c.ended {
			for _, state := range []connectivity.State{connectivity.Ready, connectivity.Idle, connectivity.Connecting, connectivity.TransientFailure, connectivity.Shutdown} {
				sc.become(state)
			}
		}
		health(lb.SubConnState{ConnectivityState: connectivity.Ready})
		for range 2 * rollcall.DefaultEjectionFailures {
			under.end(lb.DoneInfo{Err: unavailable})
		}
		s.put(instance(6))
		v, _ := c.reducer.Apply(s.next().Updates)
		if err := c.UpdateClientConnState(lb.ClientConnState{ResolverState: v.State(), BalancerConfig: c.config}); err != nil {
			t.Error(err)
		}
		c.ResolverError(errors.New("no etcd in sight"))
		c.ExitIdle()
		c.Close()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(c.published()) != published || len(c.addresses()) > 0 {
			t.Errorf("%d pickers and %v connections have been made", len(c.published())-published, c.addresses())
		}
		for range 10 {
			if made, err := pick(t.Context(), c.picker()); err == nil {
				t.Fatalf("a call goes to %s", made.addr)
			}
		}
	})
}

func TestWhatEndedConnectionsSayDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 3)...)
		old := c.conn(addr(0))
		s.remove(addr(0))
		c.show(s.next())
		s.put(instance(0))
		c.show(s.next())
		old.become(connectivity.Ready)
		c.quiet()
		if n := c.picks(300)[addr(0)]; n > 0 {
			t.Errorf("one that is being connected to is called %d times", n)
		}
		c.become(addr(0), connectivity.Ready)
		old.become(connectivity.TransientFailure)
		old.become(connectivity.Shutdown)
		c.quiet()
		if n := c.picks(300)[addr(0)]; n != 100 {
			t.Errorf("one that is connected again is called %d times of 300", n)
		}
		for n := range 3 {
			c.become(addr(n), connectivity.Idle)
			c.become(addr(n), connectivity.Connecting)
			c.become(addr(n), connectivity.TransientFailure)
		}
		old.become(connectivity.TransientFailure)
		if _, err := pick(t.Context(), c.picker()); err == nil || !strings.Contains(err.Error(), "refused by "+addr(2)) {
			t.Errorf("a call gets %v, want the reason of the last one that was tried", err)
		}
	})
}

// As when a proxy or another policy stands in between, and then does not.
func TestAViewMayComeAsEndpointsAndBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instance(0, weighing(100)), instance(1, weighing(300)), instance(2, weighing(600)))
		part := func(state resolver.State, from, to int) resolver.State {
			state.Endpoints = append([]resolver.Endpoint(nil), state.Endpoints[from:to]...)
			return state
		}
		check := func(want map[string]float64) {
			t.Helper()
			c.connect()
			c.quiet()
			got := c.shares()
			for addr, share := range want {
				if d := got[addr] - share; d > 1e-6 || d < -1e-6 || len(got) != len(want) {
					t.Errorf("shares %v, want %v", got, want)
				}
			}
		}
		view, _ := c.reducer.Apply(nil)
		c.update(part(view.State(), 0, 2))
		check(map[string]float64{addr(0): 0.25, addr(1): 0.75})
		c.update(part(view.State(), 0, 3))
		check(map[string]float64{addr(0): 0.1, addr(1): 0.3, addr(2): 0.6})
		c.update(view.State())
		check(map[string]float64{addr(0): 0.1, addr(1): 0.3, addr(2): 0.6})
		s.remove(addr(2))
		s.change(addr(1), weighing(100))
		next, _ := c.reducer.Apply(s.next().Updates)
		c.update(part(next.State(), 0, 2))
		check(map[string]float64{addr(0): 0.5, addr(1): 0.5})
		c.update(next.State())
		check(map[string]float64{addr(0): 0.5, addr(1): 0.5})
		for addr, n := range c.made {
			if want := map[string]int{c.addresses()[0]: 1, c.addresses()[1]: 1}[addr]; want > 0 && n != want {
				t.Errorf("%d connections were made to %s, want 1", n, addr)
			}
		}
		// A resolver that starts anew, as after gRPC's idle mode, makes views that have nothing to do with those before.
		anew := endpoints.NewReducer("svc", "", nil)
		fresh, _ := anew.Apply(s.view.Since(nil))
		c.update(fresh.State())
		check(map[string]float64{addr(0): 0.5, addr(1): 0.5})
		if c.made[addr(0)] != 1 {
			t.Errorf("%d connections were made to %s, want 1", c.made[addr(0)], addr(0))
		}
	})
}

// Each picker wakes all calls that wait: where nobody is there to call, only another reason is worth that.
func TestConnectionsThatAreTriedInVainDoNotWakeThoseThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newChannel(t, "", Config{}), newService(instances(0, 20)...)
		c.show(s.next())
		for _, addr := range c.addresses() {
			c.become(addr, connectivity.TransientFailure)
		}
		published := len(c.published())
		for _, addr := range c.addresses() {
			c.become(addr, connectivity.Idle)
			c.become(addr, connectivity.Connecting)
		}
		if n := len(c.published()) - published; n > 0 {
			t.Errorf("%d pickers are published that say the same", n)
		}
	})
}
