package integration

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// The engine runs in simulated time as it does in real time: connections, heartbeats, watches and probes.
func TestTheEngineLivesTenMinutesInABubble(t *testing.T) {
	simulate(t, 3, func(t *testing.T, world *simulated) {
		sim := world.sim
		reg := world.Registry(t, nil)
		register(t, reg, "greeter", rollcall.Instance{Addr: "10.0.0.1:1"})
		w := reg.Watch("greeter")
		defer w.Close()
		mustEqual(t, "instances", len(next(t, w).Instances), 1)
		for range 10 { // every fault that a minority can have, each shorter than a lease lives
			victim := sim.Leader()
			victim.Hang()
			world.Pass(20 * time.Second)
			victim.Resume()
			victim.Cut()
			world.Pass(20 * time.Second)
			victim.Heal()
			victim.Restart()
			world.Pass(20 * time.Second)
		}
		nobodyExpired(t, sim)
		// A leader that hangs may revoke, when it goes on, what ran out in its own books: once for each, all moves away.
		if granted := sim.Count("LeaseGrant"); granted > 11 {
			t.Errorf("%d leases were granted", granted)
		}
		mustEqual(t, "leases left", len(sim.Leases()), 1)
		if n := sim.Count("LeaseKeepAlive"); n < 100 {
			t.Errorf("%d heartbeats in ten minutes", n)
		}
	})
}

// A restored etcd counts its terms from the beginning: the registrar must not take the leader of before for a newer one,
// and miss that another one hangs and may take the leases with it when it goes on.
func TestALeaderThatHangsAfterARestoreTakesNobodyWithIt(t *testing.T) {
	simulate(t, 3, func(t *testing.T, world *simulated) {
		sim := world.sim
		for range 3 { // for a later term
			sim.Restart()
			world.Pass(5 * time.Second)
		}
		reg := world.Registry(t, nil)
		register(t, reg, "greeter", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
		world.Pass(20 * time.Second)
		sim.Restore(sim.Snapshot(), 0)
		world.Pass(20 * time.Second)
		leader := sim.Leader()
		leader.Hang()
		world.Pass(15 * time.Second)
		leader.Resume()
		world.Pass(5 * time.Second)
		nobodyExpired(t, sim)
	})
}

// nobodyExpired checks that no key was deleted because its lease had run out.
func nobodyExpired(t *testing.T, sim *simetcd.Cluster) {
	t.Helper()
	for _, r := range sim.History() {
		if r.Cause == "expiry" && len(r.Events) > 0 {
			t.Errorf("revision %d at %v took a live instance", r.Revision, r.At)
		}
	}
}
