package integration

import (
	"testing"
	"time"

	etcdresolver "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/naming"
)

// newNamed runs a Greeter that is not registered.
func newNamed(t *testing.T) *greeter {
	t.Helper()
	return newGreeter(t).run(t)
}

// startNamed runs a Greeter and registers it.
func startNamed(t *testing.T, names *naming.Registry) *greeter {
	t.Helper()
	g := newNamed(t)
	addName(t, names, grpcService, g.addr, map[string]string{"team": "a"})
	return g
}

// onlyGreets calls until the calls go to one address only: with round robin, so many in a row do not by chance. No call
// may fail.
func onlyGreets(t *testing.T, conn *grpc.ClientConn, addr string) {
	t.Helper()
	deadline := time.Now().Add(grpcPatience)
	for row := 0; row < 10; row++ {
		got, err := greet(t, conn)
		if err != nil {
			t.Fatalf("call while waiting for calls to %s only: %v", addr, err)
		}
		if got != addr {
			row = -1
		}
		if time.Now().After(deadline) {
			t.Fatalf("calls go to %s, not only to %s", got, addr)
		}
	}
}

// A client for http://127.0.0.1:2379, etcd's resolver, round robin, an insecure dial to jie-test and a Greeter client:
// the old way to make them is gone from gRPC. Both ways there are now find what naming registers.
func TestNamingGreetersAreCalledRoundRobinByOursAndEtcdsResolver(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	names, _ := newNames(t, "http://"+etcd.Endpoint())
	builder, err := etcdresolver.NewBuilder(client)
	if err != nil {
		t.Fatal(err)
	}
	etcds, err := grpc.NewClient("etcd:///"+grpcService, grpc.WithResolvers(builder), grpc.WithNoProxy(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcds.Close() })
	ours := dial(t, open(t, etcd.Endpoint(), rollcall.WithPrefix("")))

	a, b := startNamed(t, names), startNamed(t, names)
	for name, conn := range map[string]*grpc.ClientConn{"rollcall": ours, "etcd": etcds} {
		greetUntil(t, conn, a.addr, b.addr)
		calls := map[string]int{}
		for range 10 {
			addr, err := greet(t, conn)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			calls[addr]++
		}
		mustEqual(t, name+": calls", calls, map[string]int{a.addr: 5, b.addr: 5})
	}
	deleteName(t, names, grpcService, a.addr)
	onlyGreets(t, ours, b.addr)
	onlyGreets(t, etcds, b.addr)
}

// What people put with etcdctl is an instance, and is called.
func TestNamingValuePutByHandIsAnInstance(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	names, _ := newNames(t, etcd.Endpoint())
	g := newNamed(t)
	w := resolveName(t, names, grpcService)
	wantUpdates(t, w)
	reg := open(t, etcd.Endpoint(), rollcall.WithPrefix(""))
	put(t, client, grpcService+"/"+g.addr, `{"Op":0,"Addr":"`+g.addr+`","Metadata":"by hand"}`)

	wantUpdates(t, w, added(g.addr, "by hand"))
	view := awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
	mustEqual(t, "metadata", string(view.Instances[0].RawMetadata), `"by hand"`)
	greetUntil(t, dial(t, reg), g.addr)

	deleteName(t, names, grpcService, g.addr)
	wantUpdates(t, w, deleted(g.addr, "by hand"))
	mustEqual(t, "keys", len(keys(t, client, "")), 0)
	deleteName(t, names, grpcService, g.addr) // nothing is there, and that is no error
}
