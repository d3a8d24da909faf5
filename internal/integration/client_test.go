package integration

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rollcall-io/rollcall"
)

// stockClient returns a client with gRPC's own backoff, as users make them.
func stockClient(t *testing.T, w *simulated) *clientv3.Client {
	t.Helper()
	cfg := clientv3.Config{Endpoints: w.sim.Endpoints(), Logger: zap.NewNop()}
	cfg.DialOptions = append(cfg.DialOptions, w.sim.DialOption())
	c := must[*clientv3.Client](t)(clientv3.New(cfg))
	w.clients = append(w.clients, c)
	return c
}

func TestAClientThatReconnectsTooSlowlyIsWarnedOfOnce(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		mustEqual(t, "warnings of gRPC's own backoff", warningsOf(t, w, stockClient(t, w)), 1)
		mustEqual(t, "warnings of ours", warningsOf(t, w, w.Client(t, -1)), 0)
	})
}

// warningsOf has etcd go away and come back under a registry over a client, and counts what is said of the client.
func warningsOf(t *testing.T, w *simulated, client *clientv3.Client) int {
	t.Helper()
	var log recorder
	reg := w.Registry(t, client, rollcall.WithLogger(log.logger()))
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
	must[*clientv3.GetResponse](t)(client.Get(bounded(t), "x")) // it uses its own connection
	w.sim.Member(0).Kill()
	w.Pass(90 * time.Second) // gRPC's own next try is at about 113 s then, ours within one
	w.sim.Member(0).Start()
	w.Pass(time.Minute)
	if err := reg.Close(bounded(t)); err != nil { // when it returns, everything has been logged
		t.Error(err)
	}
	return log.count("not fit for a registry")
}

func TestAClientThatIsClosedUnderARegistryIsWarnedOfOnce(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		var log recorder
		client := stockClient(t, w)
		reg := rollcall.New(client, rollcall.WithLogger(log.logger()))
		defer reg.Close(within(t, time.Second))
		register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		_ = client.Close()
		w.sim.Restart() // so that the registry dials again
		w.Pass(time.Minute)
		_ = reg.Close(within(t, time.Second))
		mustEqual(t, "warnings", log.count("not fit for a registry"), 1)
	})
}

// One process that lost its lease alone has nobody to wait for.
func TestALeaseLostAloneComesBackAtOnce(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		register(t, w.Registry(t, nil), "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		synctest.Wait()
		for _, lease := range w.sim.Leases() {
			if err := w.sim.RevokeLease(lease); err != nil {
				t.Fatal(err)
			}
		}
		w.Pass(100 * time.Millisecond)
		mustEqual(t, "keys", len(w.sim.Keys("rollcall/services/svc/")), 1)
	})
}

func TestAFleetThatLostItsLeasesTogetherComesBackSpread(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		const n, fleet = 8, 2000
		client := w.Client(t, -1)
		lease := must[*clientv3.LeaseGrantResponse](t)(client.Grant(bounded(t), 3600)).ID
		for i := range fleet {
			if err := w.sim.PutKey(fmt.Sprintf("rollcall/services/svc/%04d", i), bare, int64(lease)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			reg := w.Registry(t, client)
			next(t, watch(t, reg, "svc")) // it knows how many there are
			register(t, reg, "other", rollcall.Instance{Addr: fmt.Sprintf("10.0.0.%d:1", i)}, rollcall.WithTTL(10*time.Second))
		}
		w.sim.Member(0).Kill()
		w.Pass(3 * time.Second)
		began := time.Now()
		w.sim.Wipe() // and starts it
		w.Pass(20 * time.Second)
		var first, last time.Duration
		back := 0
		for _, r := range w.sim.History() {
			for _, e := range r.Events {
				if strings.HasPrefix(string(e.Kv.Key), "rollcall/services/other/") && r.At.After(began) {
					last = r.At.Sub(began)
					if back++; back == 1 {
						first = last
					}
				}
			}
		}
		t.Logf("%d back between %v and %v after etcd", back, first, last)
		mustEqual(t, "back", back, n)
		if spread := last - first; spread < 300*time.Millisecond || spread > 4*time.Second {
			t.Errorf("they came back within %v", spread)
		}
	})
}
