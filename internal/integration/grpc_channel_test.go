package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/status"
)

func TestCallsAreSpreadEvenlyOverTheServers(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	a, b, c := startGreeter(t, reg), startGreeter(t, reg), startGreeter(t, reg)
	conn := dial(t, reg)
	greetUntil(t, conn, a.addr, b.addr, c.addr) // all three are connected now
	got := map[string]int{}
	for range 30 {
		addr, err := greet(t, conn)
		if err != nil {
			t.Fatal(err)
		}
		got[addr]++
	}
	for _, g := range []*greeter{a, b, c} {
		if got[g.addr] != 10 {
			t.Errorf("of 30 calls over 3 servers %v, want 10 each", got)
			break
		}
	}
	if _, ok := a.authorities.Load(grpcService); !ok {
		t.Errorf("the channel's authority is not the service name")
	}
}

func TestServerThatJoinsGetsCalls(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	first := startGreeter(t, reg)
	conn := dial(t, reg)
	greetUntil(t, conn, first.addr)
	joiner := newGreeter(t).serve(t, reg)
	greetUntil(t, conn, first.addr, joiner.addr)
}

func TestCallerCanChooseAnotherPolicy(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	a, b := startGreeter(t, reg), startGreeter(t, reg)
	conn := dial(t, reg, grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithServiceConfig(`{"loadBalancingConfig":[{"pick_first":{}}]}`))))
	for range 20 {
		if _, err := greet(t, conn); err != nil {
			t.Fatal(err)
		}
	}
	if got := [2]int64{a.calls.Load(), b.calls.Load()}; got[0]*got[1] != 0 || got[0]+got[1] != 20 {
		t.Errorf("with pick_first the servers got %v calls, want all 20 at one of them", got)
	}
}

func TestChangeOfAnInstanceCostsNoConnection(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	g := newGreeter(t)
	go func() { _ = g.srv.Serve(g) }()
	t.Cleanup(g.srv.Stop)
	r, err := reg.Register(t.Context(), grpcService, rollcall.Instance{Addr: g.addr})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, reg)
	greetUntil(t, conn, g.addr)

	err = r.Update(t.Context(), func(i *rollcall.Instance) { i.Weight, i.Version = 7, "2" })
	if err != nil {
		t.Fatal(err)
	}
	other := startGreeter(t, reg) // a later change: when it is seen, so is the one before
	greetUntil(t, conn, other.addr, g.addr)
	if n := g.connections.Load(); n != 1 {
		t.Errorf("%d connections were made to the server whose weight changed, want 1", n)
	}
}

func TestServiceWithoutInstancesFailsCallsAtOnce(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	conn := dial(t, reg)
	_, err := greet(t, conn)
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "no answer") {
		t.Errorf("a call to a service without instances: %v; want Unavailable, and not for etcd's silence", err)
	}

	g := newGreeter(t).serve(t, reg)
	addr, err := greet(t, conn, grpc.WaitForReady(true))
	if err != nil || addr != g.addr {
		t.Fatalf("after a server joined: %q, %v", addr, err)
	}

	g.stop()
	for deadline := time.Now().Add(grpcPatience); status.Code(err) != codes.Unavailable; {
		if _, err = greet(t, conn); time.Now().After(deadline) {
			t.Fatalf("after the last server left: %v, want Unavailable", err)
		}
	}
}

func TestChannelMadeWhileEtcdIsDownWaitsThenSaysSoThenWorks(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	etcd.Stop()
	reg := grpcRegistry(t, etcd)
	conn := dial(t, reg)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call with a deadline before there is a first view: %v, want its DeadlineExceeded", err)
	}
	_, err := greet(t, conn)
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), etcd.Endpoint()) {
		t.Errorf("a call without a first view: %v, want Unavailable that names %s", err, etcd.Endpoint())
	}

	patient := make(chan error, 1)
	go func() {
		_, err := greet(t, conn, grpc.WaitForReady(true))
		patient <- err
	}()
	g := newGreeter(t).serve(t, reg)
	etcd.Restart()
	if err := <-patient; err != nil {
		t.Errorf("a call that waits for ready: %v", err)
	}
	greetUntil(t, conn, g.addr)
}

func TestEtcdGoingAwayTakesNoServerFromTheCallers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	a, b := startGreeter(t, reg), startGreeter(t, reg)
	conn := dial(t, reg)
	greetUntil(t, conn, a.addr, b.addr)

	etcd.Stop()
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
	for range 100 {
		if _, err := greet(t, conn); err != nil {
			t.Fatalf("a call while etcd is down: %v", err)
		}
	}
	etcd.Restart()
	joiner := newGreeter(t).serve(t, reg)
	greetUntil(t, conn, a.addr, b.addr, joiner.addr)
}

// A channel that sleeps gives its watch up; the call that wakes it must not find it blind.
func TestChannelThatWasIdleWakesUp(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	g := startGreeter(t, reg)
	conn := dial(t, reg, grpc.WithIdleTimeout(50*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	for range 3 {
		if addr, err := greet(t, conn); err != nil || addr != g.addr {
			t.Fatalf("a call that wakes the channel: %q, %v", addr, err)
		}
		for s := conn.GetState(); s != connectivity.Idle; s = conn.GetState() {
			if !conn.WaitForStateChange(ctx, s) {
				t.Fatalf("the channel is %v and does not become idle", s)
			}
		}
	}
}

func TestClosedRegistryTakesNoServerFromTheCallers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	g := startGreeter(t, grpcRegistry(t, etcd))
	callers := grpcRegistry(t, etcd)
	conn := dial(t, callers)
	greetUntil(t, conn, g.addr)
	if err := callers.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := greet(t, conn); err != nil {
			t.Fatalf("a call after the callers' registry was closed: %v", err)
		}
	}
}
