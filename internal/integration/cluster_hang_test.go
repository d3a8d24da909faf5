package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// A leader that hangs is the fault that etcd's own KeepAlive loses live instances by. Beside ours some of those hang on
// the same cluster: were none of them lost, the test would have been unable to see the fault.
func TestALeaderThatHangsForThreeTTLsCostsNoInstance(t *testing.T) {
	if testing.Short() {
		t.Skip("a leader hangs for half a minute")
	}
	t.Parallel()
	c := etcdtest.StartCluster(t, 3)
	const least, longer = 5 * time.Second, 10 * time.Second
	crews := []*crew{muster(t, c, "least", least), muster(t, c, "longer", longer)}
	const others = 18 // a third of them is with the leader, as chance has it
	keptAlive(t, c, "kept-alive/", others, longer)
	leader := c.Leader(t)
	h := recordFrom(t, follower(t, c, leader).Client(t), 0)

	struck := time.Now()
	leader.Hang()
	lastFor(t, 3*longer)
	events := h.complete(t)
	if gone := deletions(events, "rollcall/"); gone != nil {
		t.Errorf("deleted while their processes lived: %v", gone)
	}
	lost := slices.Compact(slices.Sorted(slices.Values(deletions(events, "kept-alive/"))))
	t.Logf("KeepAlive lost %d of %d", len(lost), others)
	if len(lost) == 0 {
		t.Error("etcd's KeepAlive lost nothing: this cannot have been the fault")
	}
	for _, crew := range crews {
		crew.missesNobody(t, struck)
	}

	healed := time.Now()
	leader.Continue()
	c.Await(t)
	for _, crew := range crews {
		if took := crew.converge(t, c, healed); took > 8*time.Second {
			t.Errorf("%s: views converged %v after the leader went on, want 8 s at most", crew.service, took)
		}
	}
	lastFor(t, time.Second)
	// A leader that goes on may revoke every lease that ran out in its own books while it hung, however often the new
	// leader has renewed it. Only what lies under a lease that it does not know is safe from it.
	if gone := deletions(h.complete(t)[len(events):], "rollcall/"); gone != nil {
		t.Errorf("deleted when the leader went on: %v", gone)
	}
	for _, crew := range crews {
		crew.missesNobody(t, healed)
	}
}

// follower returns a member that does not lead.
func follower(t *testing.T, c *etcdtest.Cluster, leader *etcdtest.Member) *etcdtest.Member {
	t.Helper()
	for i := range c.Endpoints() {
		if m := c.Member(i); m != leader {
			return m
		}
	}
	t.Fatal("there is no other member")
	return nil
}
