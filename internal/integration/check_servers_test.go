package integration

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/check"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

var quickTCP = rollcall.Check{Type: rollcall.CheckTCP, Interval: time.Second, Fall: 2, Rise: 2}

// closedPort is an address that refuses connections, until the test listens there.
func closedPort(t *testing.T) string {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

func TestTwoServersShareTheChecksAndOneTakesOverWhatTheOtherFound(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	a := startChecking(t, etcd, "a")
	b := startChecking(t, etcd, "b")
	eventually(t, grpcPatience, "two servers that know of each other", func() bool {
		return a.checker.Stats().Servers == 2 && b.checker.Stats().Servers == 2
	})
	const well, sick = 20, 12
	var closed []string
	for _, addr := range openPorts(t, well) {
		register(t, reg, "orders", rollcall.Instance{Addr: addr, Check: &quickTCP})
	}
	for range sick {
		closed = append(closed, closedPort(t))
		register(t, reg, "orders", rollcall.Instance{Addr: closed[len(closed)-1], Check: &quickTCP})
	}
	w := watch(t, reg, "orders")
	v := untilHealth(t, w, 2*sureWithin, well+sick, closed...)
	by := map[string]int{}
	for _, i := range v.Instances {
		if i.Health != nil {
			by[i.Health.Checker]++
			if i.Health.Detail != "connection refused" {
				t.Errorf("%s: %q", i.ID, i.Health.Detail)
			}
		}
	}
	if a, b := a.checker.Stats().Checked, b.checker.Stats().Checked; a+b != well+sick || a == 0 || b == 0 || by["a"] == 0 || by["b"] == 0 {
		t.Fatalf("a checks %d and b %d of %d; reports by %v", a, b, well+sick, by)
	}

	a.crash(t, etcd)
	untilTold(t, w, "what a found is b's word", func(v *rollcall.View) bool {
		n := 0
		for _, i := range v.Instances {
			if i.Health != nil && i.Health.Checker == "b" {
				n++
			}
		}
		return n == sick
	})
	eventually(t, grpcPatience, "b checks all", func() bool { return b.checker.Stats().Checked == well+sick })
	a.stop()
	if keys := keys(t, etcd.Client(t), "rollcall/control/orders/health/"); len(keys) != sick {
		t.Errorf("%d reports in etcd, want %d", len(keys), sick)
	}
}

func untilTold(t *testing.T, w *rollcall.Watcher, what string, cond func(*rollcall.View) bool) *rollcall.View {
	t.Helper()
	return until(t, w, grpcPatience, what, cond)
}

func TestChecksGoOnWhileEtcdIsDownAndTheirResultsAreToldAfterwards(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	var probes atomic.Int64
	s := startChecking(t, etcd, "a", func(c *check.Config) { c.Observe = func(check.Observation) { probes.Add(1) } })
	addr := closedPort(t)
	var mind atomic.Bool // what listens there
	serve(t, addr, &mind)
	register(t, reg, "orders", rollcall.Instance{Addr: addr, Check: &rollcall.Check{Type: rollcall.CheckHTTP, Path: "/healthz", Interval: time.Second, Fall: 2, Rise: 2}})
	w := watch(t, reg, "orders")
	untilHealth(t, w, grpcPatience, 1)
	awaitCount(t, &probes, 2)
	etcd.Stop()
	mind.Store(true)
	eventually(t, grpcPatience, "a failure that is found while etcd is down", func() bool { return s.checker.Stats().Failing == 1 })
	awaitCount(t, &probes, probes.Load()+2)
	etcd.Restart()
	v := untilHealth(t, w, grpcPatience, 1, addr)
	if got := v.Instances[0].Health.Detail; got != "status 503" {
		t.Errorf("the detail is %q", got)
	}
	mind.Store(false)
	untilHealth(t, w, grpcPatience, 1)
	eventually(t, grpcPatience, "no report in etcd", func() bool { return len(keys(t, etcd.Client(t), "rollcall/control/")) == 0 })
}

// serve is an HTTP server at an address that fails when it minds. It writes by hand what a handler would.
func serve(t *testing.T, addr string, minds *atomic.Bool) {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 512)
			n, _ := conn.Read(request)
			status := "200 OK"
			if minds.Load() || !strings.HasPrefix(string(request[:n]), "GET /healthz HTTP/1.1\r\n") {
				status = "503 Sorry"
			}
			_, _ = conn.Write([]byte("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n"))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		lis.Close()
		<-ended
	})
}

func TestAnAddressThatServersMayNotTouchIsUnhealthyAndSaysWhy(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	startChecking(t, etcd, "a", func(c *check.Config) { c.Loopback = false })
	addr := openPorts(t, 1)[0]
	register(t, reg, "orders", rollcall.Instance{Addr: addr, Check: &rollcall.Check{Type: rollcall.CheckTCP, Interval: time.Second, Fall: 1}})
	register(t, reg, "orders", rollcall.Instance{Addr: "169.254.169.254:80", Check: &rollcall.Check{Type: rollcall.CheckHTTP, Interval: time.Second, Fall: 1}})
	v := untilHealth(t, watch(t, reg, "orders"), sureWithin, 2, addr, "169.254.169.254:80")
	var details []string
	for _, i := range v.Instances {
		details = append(details, i.Health.Detail)
	}
	mustEqual(t, "details", details, []string{"refused by policy: loopback", "refused by policy: link-local"})
}
