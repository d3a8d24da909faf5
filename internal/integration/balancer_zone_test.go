package integration

import (
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// It sets a variable of the process's environment, and so runs while no other test does.
func TestCallersStayInTheirZoneAsFarAsItsServersDo(t *testing.T) {
	t.Setenv("ROLLCALL_ZONE", "a")
	etcd := etcdtest.Start(t)
	regA := grpcRegistry(t, etcd)
	regB := grpcRegistry(t, etcd, rollcall.WithZone("b"))
	a1, a2, b1, b2 := newGreeter(t), newGreeter(t), newGreeter(t), newGreeter(t)
	a1.register(t, regA, rollcall.Instance{})
	a2.register(t, regB, rollcall.Instance{Zone: "a"})
	b1.register(t, regB, rollcall.Instance{})
	b2.register(t, regB, rollcall.Instance{})
	awaitGreeters(t, regA, func(v *rollcall.View) bool { return len(v.Instances) == 4 })

	fromA := dial(t, regA)
	tallyUntil(t, fromA, 40, "calls from a to a", only(a1, a2))
	tallyUntil(t, dial(t, regB), 40, "calls from b to b", only(b1, b2))
	tallyUntil(t, dial(t, grpcRegistry(t, etcd, rollcall.WithZone(""))), 40, "calls from nowhere to all", only(a1, a2, b1, b2))
	tallyUntil(t, dial(t, grpcRegistry(t, etcd, rollcall.WithZone("c"))), 40, "calls from an empty zone to all", only(a1, a2, b1, b2))
	tallyUntil(t, dial(t, regA, configured(regA, policyConfig("rollcall", `{"zones":{"disabled":true}}`))), 40,
		"calls to all where zones are not to count", only(a1, a2, b1, b2))

	// Of three servers that are left one is in a. Were callers in both zones alike, each would be called as much as the
	// others if a third of the calls from a went to b.
	crashServer(t, fromA, a1)
	tallyUntil(t, fromA, 60, "two thirds of the calls in a", func(counts map[string]int) bool {
		return counts[a1.addr] == 0 && counts[a2.addr] >= 37 && counts[a2.addr] <= 43 && counts[b1.addr] > 5 && counts[b2.addr] > 5
	})
	crashServer(t, fromA, a2)
	tallyUntil(t, fromA, 40, "calls from a to b", only(b1, b2))
	again := newGreeter(t)
	again.register(t, regA, rollcall.Instance{})
	tallyUntil(t, fromA, 60, "calls from a to a again", func(counts map[string]int) bool { return counts[again.addr] > 30 })
}
