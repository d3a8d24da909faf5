package integration

import (
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

// What befalls one service of a cluster that is well; the services share the cluster.
func TestOnAClusterThatIsWell(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartCluster(t, 3)
	t.Run("a compaction while a watcher is cut off costs it nothing", func(t *testing.T) { compactWhileCutOff(t, c) })
	t.Run("a registration that operators meddle with heals", func(t *testing.T) { meddle(t, c) })
	t.Run("a process that crashes is gone after its TTL", func(t *testing.T) { crash(t, c) })
}

func compactWhileCutOff(t *testing.T, c *etcdtest.Cluster) {
	var proxies []*faultproxy.Proxy
	var through []string
	for _, endpoint := range c.Endpoints() {
		p := faultproxy.Start(t, endpoint)
		proxies, through = append(proxies, p), append(through, p.Addr())
	}
	client := c.Client(t)
	const dir = "rollcall/services/cut-off/"
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		put(t, client, dir+id, bare)
	}
	s := attend(t, openAll(t, through), "cut-off")
	s.await(t, time.Time{}, 10*time.Second, "the first view", hasIDs("a", "b", "c", "d", "e"))

	cut := time.Now()
	for _, p := range proxies {
		p.Cut()
	}
	s.await(t, cut, 20*time.Second, "the view is stale", stale)
	put(t, client, dir+"a", `{"Addr":"10.1.1.1:1"}`)
	put(t, client, dir+"f", bare)
	if _, err := client.Delete(within(t, 5*time.Second), dir+"b"); err != nil {
		t.Fatal(err)
	}
	c.Compact(t)
	healed := time.Now()
	for _, p := range proxies {
		p.Heal()
	}
	v := s.await(t, healed, 20*time.Second, "a fresh view", fresh)
	t.Logf("the view caught up %v after the cut healed", v.at.Sub(healed))
	var changes [][]string
	for _, v := range s.since(cut)[1:] {
		if len(v.Updates) > 0 {
			changes = append(changes, describe(v.Updates))
		}
	}
	mustEqual(t, "changes, view by view", changes, [][]string{{"modify a", "expire b", "add f"}})
	mustEqual(t, "instances", ids(v.View), []string{"a", "c", "d", "e", "f"})
}

func meddle(t *testing.T, c *etcdtest.Cluster) {
	const key = "rollcall/services/meddled/10.0.0.1:1"
	client := c.Client(t)
	reg := openAll(t, c.Endpoints())
	r := register(t, reg, "meddled", rollcall.Instance{Addr: "10.0.0.1:1"})
	ours, incarnation := keys(t, client, key)[key], r.Instance().Incarnation
	h := recordFrom(t, client, 0)
	back := func(e *clientv3.Event) bool { return isPut(e) && string(e.Kv.Value) == ours }

	anything := func(*clientv3.Event) bool { return true }
	for _, meddler := range []struct {
		does string
		do   func() error
	}{
		{"deletes the key", func() error {
			_, err := client.Delete(within(t, 5*time.Second), key)
			return err
		}},
		{"overwrites the key", func() error {
			_, err := client.Put(within(t, 5*time.Second), key, "nonsense")
			return err
		}},
		{"revokes the lease", func() error {
			_, err := client.Revoke(within(t, 5*time.Second), clientv3.LeaseID(reg.Status().Leases[0].ID))
			return err
		}},
	} {
		var took []time.Duration
		for range 5 {
			before := h.revision(t)
			if err := meddler.do(); err != nil {
				t.Fatal(err)
			}
			struck := h.await(t, key, before, "the fault is recorded", anything)
			healed := h.await(t, key, struck.Kv.ModRevision, "the key is back", back)
			took = append(took, healed.at.Sub(struck.at))
		}
		t.Logf("somebody %s: back after %v", meddler.does, took)
		if worst := slices.Max(took); worst > 2*time.Second {
			t.Errorf("somebody %s: back after %v, want far less than 2 s", meddler.does, worst)
		}
	}
	mustEqual(t, "incarnation", r.Instance().Incarnation, incarnation)
	mustEqual(t, "error", r.Err(), nil)
}

func crash(t *testing.T, c *etcdtest.Cluster) {
	const ttl = 5 * time.Second
	const key = "rollcall/services/crashed/10.0.0.1:1"
	h := recordFrom(t, c.Client(t), 0)
	victim := startProcess(t, c.Leader(t).Endpoint(), "crashed", "10.0.0.1:1", ttl)
	s := attend(t, openAll(t, c.Endpoints()), "crashed")
	s.await(t, time.Time{}, 5*time.Second, "the instance is in the view", hasIDs("10.0.0.1:1"))
	killed := time.Now()
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone := h.await(t, key, 0, "the instance is gone", isDelete).at.Sub(killed)
	unseen := s.await(t, killed, 5*time.Second, "the view is without it", hasIDs()).at.Sub(killed)
	t.Logf("gone from etcd %v after the crash, from the view after %v", gone, unseen)
	// The margin beyond the half second of etcd's is for a machine that runs much else.
	if limit := ttl + 1500*time.Millisecond; gone > limit || unseen > limit {
		t.Errorf("gone from etcd %v after the crash, from the view after %v, want %v at most", gone, unseen, limit)
	}
	if gone < ttl/2 {
		t.Errorf("gone after %v: its last heartbeat was at most a third of the TTL old", gone)
	}
}
