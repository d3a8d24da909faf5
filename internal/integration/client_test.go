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
	return must[*clientv3.Client](t)(clientv3.New(cfg))
}

func TestAClientThatReconnectsTooSlowlyIsWarnedOfOnce(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		for name, client := range map[string]*clientv3.Client{"stock": stockClient(t, w), "ours": w.Client(t, -1)} {
			var log recorder
			reg := rollcall.New(client, rollcall.WithLogger(log.logger()))
			register(t, reg, name, rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
			if _, err := client.Get(bounded(t), "x"); err != nil { // it uses its own connection
				t.Fatal(err)
			}
			w.sim.Member(0).Kill()
			time.Sleep(90 * time.Second) // far from a try of gRPC's
			w.sim.Member(0).Start()
			time.Sleep(time.Minute)
			want := map[string]int{"stock": 1, "ours": 0}[name]
			if err := reg.Close(bounded(t)); err != nil {
				t.Error(err)
			}
			mustEqual(t, name+": warnings", log.count("not fit for a registry"), want)
			_ = client.Close()
		}
	})
}

func TestAClientThatIsClosedUnderARegistryIsWarnedOfOnce(t *testing.T) {
	simulate(t, 1, func(t *testing.T, w *simulated) {
		var log recorder
		client := stockClient(t, w)
		reg := rollcall.New(client, rollcall.WithLogger(log.logger()))
		register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		_ = client.Close()
		w.sim.Restart() // so that the registry dials again
		time.Sleep(time.Minute)
		_ = reg.Close(within(t, time.Second))
		mustEqual(t, "warnings", log.count("not fit for a registry"), 1)
	})
}

// One process that lost its lease alone has nobody to wait for.
func TestALeaseLostAloneComesBackAtOnce(t *testing.T) {
	simulate(t, 3, func(t *testing.T, w *simulated) {
		cfg := rollcall.ClientConfig(w.sim.Endpoints()...)
		cfg.DialOptions = append(cfg.DialOptions, w.sim.DialOption())
		reg := must[*rollcall.Registry](t)(rollcall.Open(cfg))
		register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		synctest.Wait()
		for _, lease := range w.sim.Leases() {
			if err := w.sim.RevokeLease(lease); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		mustEqual(t, "keys", len(w.sim.Keys("rollcall/services/svc/")), 1)
		if err := reg.Close(bounded(t)); err != nil {
			t.Error(err)
		}
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
			reg := rollcall.New(client)
			defer reg.Close(bounded(t))
			next(t, watch(t, reg, "svc")) // it knows how many there are
			register(t, reg, "other", rollcall.Instance{Addr: fmt.Sprintf("10.0.0.%d:1", i)}, rollcall.WithTTL(10*time.Second))
		}
		w.sim.Member(0).Kill()
		time.Sleep(3 * time.Second)
		began := time.Now()
		w.sim.Wipe() // and starts it
		time.Sleep(20 * time.Second)
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
