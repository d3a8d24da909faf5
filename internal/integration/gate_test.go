package integration

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// gate lets some calls of a registry's client through to etcd and others not, by kind: what a proxy, which sees bytes,
// cannot do.
type gate struct {
	txns, grants atomic.Bool  // these are shut
	asked        atomic.Int32 // grants that came to the gate, let through or not
}

// behindGate returns a registry that reaches etcd through a gate.
func behindGate(t *testing.T, endpoint string) (*rollcall.Registry, *gate) {
	t.Helper()
	g := new(gate)
	reg := openWith(t, endpoint, grpc.WithChainUnaryInterceptor(g.pass))
	t.Cleanup(func() { // before the registry is closed
		g.txns.Store(false)
		g.grants.Store(false)
	})
	return reg, g
}

// openWith returns a registry whose client dials with more options.
func openWith(t *testing.T, endpoint string, opts ...grpc.DialOption) *rollcall.Registry {
	t.Helper()
	cfg := rollcall.ClientConfig(endpoint)
	cfg.DialOptions = append(cfg.DialOptions, opts...)
	client, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	reg := rollcall.New(client)
	t.Cleanup(func() {
		if err := reg.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return reg
}

func (g *gate) pass(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	grant, txn := strings.HasSuffix(method, "/LeaseGrant"), strings.HasSuffix(method, "/Txn")
	if grant {
		g.asked.Add(1)
	}
	if grant && g.grants.Load() || txn && g.txns.Load() {
		return status.Error(codes.Unavailable, "the gate is shut")
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}
