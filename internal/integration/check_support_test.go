package integration

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/check"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// checking is a server as far as checks go: a registry that follows everything, its instance, and a checker.
type checking struct {
	name    string
	client  *clientv3.Client
	reg     *rollcall.Registry
	checker *check.Checker
	stop    func()
}

// startChecking runs one until the test ends, or its stop is called.
func startChecking(t testing.TB, etcd *etcdtest.Server, name string, change ...func(*check.Config)) *checking {
	t.Helper()
	client, err := clientv3.New(rollcall.ClientConfig(etcd.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	c := &checking{name: name, client: client, reg: rollcall.New(client, rollcall.WithFollowAll())}
	register(t, c.reg, rollcall.ServerService, rollcall.Instance{ID: name, Addr: "127.0.0.1:7051"})
	config := check.Config{Self: name, Loopback: true}
	for _, f := range change {
		f(&config)
	}
	c.checker = check.New(c.reg, config)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.checker.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.reg.Close(closing)
		_ = client.Close()
	})
	t.Cleanup(c.stop)
	return c
}

// crash ends it without a word: its leases end as if its time were up.
func (c *checking) crash(t *testing.T, etcd *etcdtest.Server) {
	t.Helper()
	operator := etcd.Client(t)
	// Without its client it cannot renew a lease or put anything back.
	_ = c.client.Close()
	key := "rollcall/services/" + rollcall.ServerService + "/" + c.name
	resp, err := operator.Get(within(t, grpcPatience), key)
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("the key of %s: %v, %v", c.name, resp, err)
	}
	if _, err := operator.Revoke(within(t, grpcPatience), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
}

// quick is a check that soon knows.
var quick = rollcall.Check{Type: rollcall.CheckGRPC, Interval: time.Second, Timeout: 500 * time.Millisecond, Fall: 2, Rise: 2}

// sureWithin is how long a quick check may take to know, and for clients to hear: as many intervals as failures or successes are needed, and
// one more. The rest is for a machine that runs much beside the tests.
const sureWithin = 3*time.Second + 2*time.Second

// examined is a registered greeter that asks for a check, and has a health that the test sets.
func examined(t *testing.T, reg *rollcall.Registry, c rollcall.Check) (*greeter, *health.Server) {
	t.Helper()
	g, own := newGreeter(t), health.NewServer()
	healthpb.RegisterHealthServer(g.srv, own)
	g.register(t, reg, rollcall.Instance{Check: &c})
	return g, own
}

// untilHealth reads views until of the instances just those with the given addresses are unhealthy.
func untilHealth(t testing.TB, w *rollcall.Watcher, d time.Duration, total int, unhealthy ...string) *rollcall.View {
	t.Helper()
	return until(t, w, d, fmt.Sprintf("%d instances, unhealthy: %v", total, unhealthy), func(v *rollcall.View) bool {
		if len(v.Instances) != total {
			return false
		}
		n := 0
		for _, i := range v.Instances {
			if !i.Healthy() {
				n++
			}
		}
		for _, id := range unhealthy {
			if i, there := v.Get(id); !there || i.Healthy() {
				return false
			}
		}
		return n == len(unhealthy)
	})
}

// openPorts listens at n ports and accepts whatever comes, until the test ends.
func openPorts(t testing.TB, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		lis, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, lis.Addr().String())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := lis.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		t.Cleanup(func() {
			lis.Close()
			<-ended
		})
	}
	return addrs
}
