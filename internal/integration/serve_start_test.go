package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// halt is a point at which a server waits for the test.
type halt struct {
	reached chan struct{}
	passed  chan struct{}
	goOn    func() // lets it pass, now and later
}

func newHalt(t *testing.T) *halt {
	t.Helper()
	h := &halt{reached: make(chan struct{}), passed: make(chan struct{})}
	h.goOn = sync.OnceFunc(func() { close(h.passed) })
	t.Cleanup(h.goOn)
	return h
}

// wait is the server's. It may come once.
func (h *halt) wait(ctx context.Context) error {
	close(h.reached)
	select {
	case <-h.passed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits until the server has come.
func (h *halt) await(t *testing.T) {
	t.Helper()
	awaitClosed(t, h.reached, "the server does not come as far as this")
}

func awaitClosed(t *testing.T, c <-chan struct{}, complaint string) {
	t.Helper()
	select {
	case <-c:
	case <-within(t, grpcPatience).Done():
		t.Fatal(complaint)
	}
}

// wantUnregistered asserts that the server is not registered, nor about to be: what others began later is in etcd already.
func wantUnregistered(t *testing.T, reg *rollcall.Registry, client *clientv3.Client) {
	t.Helper()
	for _, id := range []string{"one", "two"} {
		register(t, reg, "other", rollcall.Instance{ID: id, Addr: "10.0.0.1:1"})
	}
	if found := keys(t, client, "rollcall/services/"+grpcService+"/"); len(found) != 0 {
		t.Errorf("it is registered already: %v", found)
	}
}

func TestWhileAServerWarmsUpConnectionsAndCallsWaitAndNobodyFindsIt(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, warming := grpcRegistry(t, etcd), newHalt(t)
	g := newGreeter(t).serve(t, reg, rollcallgrpc.WithWarmUp(warming.wait))
	t.Cleanup(warming.goOn)
	warming.await(t)

	raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", g.addr)
	if err != nil {
		t.Fatalf("a connection to a server that warms up: %v", err)
	}
	_ = raw.Close()
	conn, called := direct(t, g), make(chan error, 1)
	go func() {
		_, err := greet(t, conn) // not wait-for-ready: it would fail if the connection did
		called <- err
	}()
	wantUnregistered(t, reg, etcd.Client(t))
	select {
	case err := <-called:
		t.Fatalf("a call ended before the server was warm: %v", err)
	default:
	}

	warming.goOn()
	if err := <-called; err != nil {
		t.Errorf("the call that waited: %v", err)
	}
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
}

func TestAServerThatIsNotWarmIsNeverServedNorRegistered(t *testing.T) {
	t.Parallel()
	errCold := errors.New("the cache cannot be filled")
	for name, tc := range map[string]struct {
		warmUp func(context.Context) error
		stop   bool
		want   error
	}{
		"the warm-up fails":     {func(context.Context) error { return errCold }, false, errCold},
		"told to leave":         {func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("fill: %w", ctx.Err()) }, true, nil},
		"told to leave, silent": {func(ctx context.Context) error { <-ctx.Done(); return nil }, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t)
			g := newGreeter(t).serve(t, grpcRegistry(t, etcd), rollcallgrpc.WithWarmUp(tc.warmUp),
				rollcallgrpc.WithServing(func(bool) { t.Error("it was said to be serving, or no longer") }),
				rollcallgrpc.WithReady(func(*rollcall.Registration) { t.Error("it was said to be ready") }))
			if tc.stop {
				g.stop()
			}
			if err := g.wait(t); !errors.Is(err, tc.want) {
				t.Errorf("Serve: %v, want %v", err, tc.want)
			}
			wantStopped(t, g)
			got, err := etcd.Client(t).Get(within(t, grpcPatience), "x")
			if err != nil || got.Header.Revision != 1 {
				t.Errorf("etcd is at revision %v (%v); 1 is that of an etcd that nobody wrote to", got.Header.Revision, err)
			}
		})
	}
}

func TestAServerIsHealthyAndTakesCallsBeforeItIsRegistered(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, serving, own := grpcRegistry(t, etcd), newHalt(t), health.NewServer()
	g := newGreeter(t).serve(t, reg, rollcallgrpc.WithHealth(own), rollcallgrpc.WithServing(func(is bool) {
		if is {
			_ = serving.wait(context.Background())
		}
	}))
	t.Cleanup(serving.goOn)
	serving.await(t)
	if reply, err := own.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || reply.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("when it is said to be serving its health is %v, %v", reply, err)
	}
	if _, err := greet(t, direct(t, g)); err != nil {
		t.Errorf("when it is said to be serving a call fails: %v", err)
	}
	wantUnregistered(t, reg, etcd.Client(t))
	serving.goOn()
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
}
