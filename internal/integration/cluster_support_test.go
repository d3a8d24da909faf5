package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// crew is thirty instances of a service, held by three registries, and the witnesses who see all of them in two more.
type crew struct {
	service   string
	ids       []string
	witnesses []*witness
}

func muster(t testing.TB, c *etcdtest.Cluster, service string, ttl time.Duration) *crew {
	t.Helper()
	crew := &crew{service: service}
	for r := range 3 {
		reg := openAll(t, c.Endpoints())
		for i := range 10 {
			addr := fmt.Sprintf("10.0.%d.%d:1", r, i)
			register(t, reg, service, rollcall.Instance{Addr: addr}, rollcall.WithTTL(ttl))
			crew.ids = append(crew.ids, addr)
		}
	}
	for range 2 {
		s := attend(t, openAll(t, c.Endpoints()), service)
		s.await(t, time.Time{}, 10*time.Second, "everybody is in the view", func(v *rollcall.View) bool { return len(v.Instances) == len(crew.ids) })
		crew.witnesses = append(crew.witnesses, s)
	}
	return crew
}

// converge registers one more instance and returns how long after a moment the last of the witnesses saw it, with all of
// the crew, none of them doubted, in a view that is not stale.
func (c *crew) converge(t testing.TB, cluster *etcdtest.Cluster, after time.Time) time.Duration {
	t.Helper()
	const newcomer = "10.9.9.9:1"
	register(t, openAll(t, cluster.Endpoints()), c.service, rollcall.Instance{Addr: newcomer})
	var last time.Time
	for _, s := range c.witnesses {
		v := s.await(t, after, 20*time.Second, "all of the crew and a newcomer are in every view", func(v *rollcall.View) bool {
			_, found := v.Get(newcomer)
			return found && fresh(v) && len(v.Instances) == len(c.ids)+1 && suspected(v) == 0
		})
		if v.at.After(last) {
			last = v.at
		}
	}
	t.Logf("%s: views converged %v after the fault", c.service, last.Sub(after))
	return last.Sub(after)
}

// missesNobody fails the test if a view since a moment lacked one of the crew, or doubted it.
func (c *crew) missesNobody(t testing.TB, since time.Time) {
	t.Helper()
	for _, s := range c.witnesses {
		if missing, suspected := s.lost(since, c.ids); missing != nil || suspected != nil {
			t.Errorf("%s: missing from views: %v, suspected: %v", c.service, missing, suspected)
		}
	}
}

// lastFor lets a fault last.
func lastFor(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal("the test ended meanwhile")
	}
}

// keptAlive puts keys, each under a lease that a client of its own keeps alive the way etcd's client offers, with the
// configuration that it has by default.
func keptAlive(t testing.TB, c *etcdtest.Cluster, prefix string, n int, ttl time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait) // after the clients are closed, which ends the channels
	for i := range n {
		client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), Logger: rollcall.ClientConfig().Logger})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		lease, err := client.Grant(within(t, 5*time.Second), int64(ttl/time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(within(t, 5*time.Second), fmt.Sprint(prefix, i), "", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
		answers, err := client.KeepAlive(client.Ctx(), lease.ID)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range answers { // as an application does that is told to drain it
			}
		})
	}
}
