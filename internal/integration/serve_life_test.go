package integration

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// direct makes a channel to one server, past the registry.
func direct(t *testing.T, g *greeter) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+g.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// healthOf asks a server for the health of a name.
func healthOf(t *testing.T, conn *grpc.ClientConn, name string) healthpb.HealthCheckResponse_ServingStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	reply, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: name}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("health of %q: %v", name, err)
	}
	return reply.Status
}

func awaitHealth(t *testing.T, conn *grpc.ClientConn, name string, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	for deadline := time.Now().Add(grpcPatience); healthOf(t, conn, name) != want; {
		if time.Now().After(deadline) {
			t.Fatalf("the health of %q does not become %v", name, want)
		}
	}
}

func TestServerServesWhileEtcdIsDownAndRegistersWhenItIsBack(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	etcd.Stop()
	reg := grpcRegistry(t, etcd)
	g := newGreeter(t).serve(t, reg)
	conn := direct(t, g)
	for _, name := range []string{"", "helloworld.Greeter"} {
		awaitHealth(t, conn, name, healthpb.HealthCheckResponse_SERVING)
	}
	if addr, err := greet(t, conn); err != nil || addr != g.addr {
		t.Errorf("a call while etcd is down: %q, %v", addr, err)
	}
	etcd.Restart()
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
}

func TestServerIsRegisteredAsItWasTold(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	newGreeter(t).serve(t, reg, rollcallgrpc.WithTTL(7*time.Second), rollcallgrpc.WithInstance(rollcall.Instance{
		ID: "one", Addr: "10.0.0.7:50051", Zone: "z", Version: "2", Weight: 50, Metadata: map[string]string{"team": "a"},
	}))
	view := awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 1 })
	got := view.Instances[0]
	want := rollcall.Instance{
		ID: "one", Addr: "10.0.0.7:50051", Zone: "z", Version: "2", Weight: 50, Metadata: map[string]string{"team": "a"},
		State: rollcall.StateServing, TTL: 7 * time.Second,
	}
	bookkeeping := cmp.FilterPath(func(p cmp.Path) bool {
		switch p.Last().String() {
		case ".Incarnation", ".Holder", ".Registered", ".Revision", ".CreateRevision", ".lease", ".tokenHash", ".unknown":
			return true
		}
		return false
	}, cmp.Ignore())
	if diff := cmp.Diff(want, *got, bookkeeping); diff != "" {
		t.Errorf("the instance (-want +got):\n%s", diff)
	}
}

// What Serve does to check its arguments must not be seen by anybody.
func TestServerIsRegisteredOnceAndNotBeforeItServes(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	history := etcd.Client(t).Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(1))
	g := startGreeter(t, reg)
	view, err := reg.Lookup(ctx, grpcService)
	if err != nil {
		t.Fatal(err)
	}
	registered, _ := view.Get(g.addr)
	first := <-history
	if err := first.Err(); err != nil || len(first.Events) == 0 {
		t.Fatalf("read etcd's history: %v", err)
	}
	if e := first.Events[0]; e.Kv.ModRevision != registered.Revision {
		t.Errorf("before it registered the server wrote %s = %s", e.Kv.Key, e.Kv.Value)
	}
}

func TestServerThatStopsTellsCallersFirstAndServesMeanwhile(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	var log bytes.Buffer
	g := startGreeter(t, reg, rollcallgrpc.WithDrainDelay(4*time.Second), // time for a hundred calls on a busy machine
		rollcallgrpc.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	conn := direct(t, g)
	awaitHealth(t, conn, "", healthpb.HealthCheckResponse_SERVING)
	w := reg.Watch(grpcService)
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()

	g.stop()
	var drained bool
	for view, err := range w.Views(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if i, found := view.Get(g.addr); found && i.State == rollcall.StateDraining {
			drained = true
			for range 100 {
				if addr, err := greet(t, conn); err != nil || addr != g.addr {
					t.Fatalf("a call to the draining server: %q, %v", addr, err)
				}
			}
			if got := healthOf(t, conn, ""); got != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("the draining server's health is %v", got)
			}
		} else if !found {
			for _, u := range view.Updates {
				if u.Expired {
					t.Error("the instance went without a goodbye")
				}
			}
			break
		}
	}
	if !drained {
		t.Error("the instance went without draining first")
	}
	if err := g.wait(t); err != nil {
		t.Errorf("Serve: %v, want nil after its context ended", err)
	}
	for _, step := range []string{"step=drain", "step=deregister"} {
		if !bytes.Contains(log.Bytes(), []byte(step)) {
			t.Errorf("the log does not tell of %s:\n%s", step, log.String())
		}
	}
}

func TestServerLetsCallsFinishAndCutsOffWhatOutlastsTheStopTimeout(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	for name, tc := range map[string]struct {
		work, timeout time.Duration
		finishes      bool
	}{
		"finishes":   {500 * time.Millisecond, grpcPatience, true},
		"is cut off": {grpcPatience, 50 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGreeter(t)
			g.work = tc.work
			g.serve(t, reg, rollcallgrpc.WithDrainDelay(0), rollcallgrpc.WithStopTimeout(tc.timeout))
			conn := direct(t, g)
			called := make(chan error, 1)
			go func() {
				_, err := greet(t, conn, grpc.WaitForReady(true))
				called <- err
			}()
			awaitCount(t, &g.calls, 1)
			g.stop()
			if err := <-called; (err == nil) != tc.finishes {
				t.Errorf("the call under way ended with %v, want it to finish: %v", err, tc.finishes)
			}
			if err := g.wait(t); err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

func TestServerWhoseIDIsTakenOverStopsAndSaysSo(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	g := startGreeter(t, reg)
	if _, err := grpcRegistry(t, etcd).Register(t.Context(), grpcService, rollcall.Instance{ID: g.addr, Addr: "10.0.0.7:50051"}); err != nil {
		t.Fatal(err)
	}
	if err := g.wait(t); !errors.Is(err, rollcall.ErrReplaced) {
		t.Errorf("Serve: %v, want ErrReplaced", err)
	}
	wantStopped(t, g)
	if v, err := reg.Lookup(t.Context(), grpcService); err != nil || !holds(v, g.addr) {
		t.Errorf("the successor's key is gone: %v, %v", v, err)
	}
}

func TestServerStopsWhenItsRegistryIsClosed(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	g := startGreeter(t, reg)
	if err := reg.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.wait(t); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("Serve: %v, want ErrClosed", err)
	}
	wantStopped(t, g)
}

func TestServerThatCannotServeIsDeregistered(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	broken, stopped := startGreeter(t, reg), startGreeter(t, reg)
	_ = broken.lis.Close()
	if err := broken.wait(t); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want the listener's error", err)
	}
	stopped.srv.Stop()
	if err := stopped.wait(t); err != nil {
		t.Errorf("Serve: %v, want nil for a server that somebody stopped", err)
	}
	v, err := reg.Lookup(t.Context(), grpcService)
	if err != nil || len(v.Instances) != 0 {
		t.Errorf("after both had stopped: %v, %v; want no instance", v, err)
	}
}

func TestEtcdThatIsDownDoesNotKeepAServerFromStopping(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	registered, never := startGreeter(t, reg), newGreeter(t)
	etcd.Stop()
	never.serve(t, reg)
	awaitHealth(t, direct(t, never), "", healthpb.HealthCheckResponse_SERVING)
	registered.stop()
	never.stop()
	for _, g := range []*greeter{registered, never} {
		if err := g.wait(t); err != nil {
			t.Errorf("Serve: %v, want nil", err)
		}
		wantStopped(t, g)
	}
}

func TestHealthServiceOfTheCallerIsUsed(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	for name, registered := range map[string]bool{"registered by the caller": true, "registered by Serve": false} {
		t.Run(name, func(t *testing.T) {
			own := health.NewServer()
			own.SetServingStatus("helloworld.Greeter", healthpb.HealthCheckResponse_NOT_SERVING) // warming up
			g := newGreeter(t)
			if registered {
				healthpb.RegisterHealthServer(g.srv, own)
			}
			g.serve(t, reg, rollcallgrpc.WithHealth(own))
			conn := direct(t, g)
			awaitHealth(t, conn, "", healthpb.HealthCheckResponse_SERVING)
			if got := healthOf(t, conn, "helloworld.Greeter"); got != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("the status that the caller had set is now %v", got)
			}
			g.stop()
			_ = g.wait(t)
			own.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
			reply, err := own.Check(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil || reply.Status != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("after the end: %v, %v; want NOT_SERVING for good", reply, err)
			}
		})
	}
}

func TestHealthServiceThatIsNotServesOwnIsLeftAlone(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	own := health.NewServer()
	own.SetServingStatus("", healthpb.HealthCheckResponse_UNKNOWN)
	g := newGreeter(t)
	healthpb.RegisterHealthServer(g.srv, own)
	g.serve(t, reg)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
	if got := healthOf(t, direct(t, g), ""); got != healthpb.HealthCheckResponse_UNKNOWN {
		t.Errorf("the status became %v", got)
	}
}

// wantStopped asserts that nothing listens where the server did.
func wantStopped(t *testing.T, g *greeter) {
	t.Helper()
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", g.addr); err == nil {
		_ = conn.Close()
		t.Errorf("the server still listens at %s", g.addr)
	}
}
