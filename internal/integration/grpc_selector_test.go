package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// dialTarget makes a channel to a target, which may select.
func dialTarget(t *testing.T, reg *rollcall.Registry, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := rollcallgrpc.NewClient(target, reg, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestTargetSelectsByZoneAndVersion(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, far := grpcRegistry(t, etcd, rollcall.WithZone("a")), grpcRegistry(t, etcd, rollcall.WithZone("b"))
	old := startGreeter(t, reg, rollcallgrpc.WithInstance(rollcall.Instance{Version: "v1"}))
	young := startGreeter(t, reg, rollcallgrpc.WithInstance(rollcall.Instance{Version: "v2"}))
	remote := startGreeter(t, far, rollcallgrpc.WithInstance(rollcall.Instance{Version: "v2"}))
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, old.addr, young.addr, remote.addr) })

	for target, want := range map[string][]string{
		"jie-test?version=v2":                      {young.addr, remote.addr},
		"rollcall:///jie-test?version=v2&zone=a":   {young.addr},
		"jie-test?zone=b":                          {remote.addr},
		"jie-test?zone=c&zone=b&version=v3":        nil,
		"jie-test?version=v1&version=v3&zone=a":    {old.addr},
		"rollcall:///jie-test?zone=nowhere&zone=b": {remote.addr},
	} {
		conn := dialTarget(t, reg, target)
		answered := map[string]bool{}
		for range 20 {
			addr, err := greet(t, conn)
			if len(want) == 0 && status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "jie-test?version=v3&zone=b&zone=c") {
				break // an empty service, by the name of what was selected
			}
			if err != nil {
				t.Errorf("a call to %s: %v", target, err)
				break
			}
			answered[addr] = true
		}
		for addr := range answered {
			if !strings.Contains(strings.Join(want, " "), addr) {
				t.Errorf("a call to %s went to %s, want one of %v", target, addr, want)
			}
		}
	}
}

func TestInstanceThatIsSelectedLaterGetsCallsThen(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	g := newGreeter(t)
	go func() { _ = g.srv.Serve(g) }()
	t.Cleanup(g.srv.Stop)
	r, err := reg.Register(t.Context(), grpcService, rollcall.Instance{Addr: g.addr, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	conn := dialTarget(t, reg, "jie-test?version=v2")
	if _, err := greet(t, conn); status.Code(err) != codes.Unavailable {
		t.Fatalf("a call to a version that is not there: %v, want Unavailable", err)
	}
	become := func(version string) {
		if err := r.Update(t.Context(), func(i *rollcall.Instance) { i.Version = version }); err != nil {
			t.Fatal(err)
		}
	}
	become("v2")
	if addr, err := greet(t, conn, grpc.WaitForReady(true)); err != nil || addr != g.addr {
		t.Fatalf("a call after the version came: %q, %v", addr, err)
	}
	become("v1")
	for deadline := time.Now().Add(grpcPatience); err == nil; {
		if _, err = greet(t, conn); time.Now().After(deadline) {
			t.Fatal("calls still go to a version that is not selected")
		}
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("after the version left: %v, want Unavailable", err)
	}
}

func TestZoneThatAnUpdateClearsIsTheRegistrysAgain(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t), rollcall.WithZone("a"))
	r, err := reg.Register(t.Context(), grpcService, rollcall.Instance{Addr: "10.0.0.1:1", Zone: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Update(t.Context(), func(i *rollcall.Instance) { i.Zone = "" }); err != nil {
		t.Fatal(err)
	}
	v, err := reg.Lookup(t.Context(), grpcService)
	if err != nil {
		t.Fatal(err)
	}
	if i, _ := v.Get("10.0.0.1:1"); i == nil || i.Zone != "a" {
		t.Errorf("in etcd stands %+v, want the registry's zone", i)
	}
}
