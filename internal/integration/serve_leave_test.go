package integration

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lockedLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// keepCalling calls a server again and again, eight calls at once, until the returned function has been called. Whether they succeed
// is told to whoever wants to know.
func keepCalling(t *testing.T, call func(context.Context) error, done func(error)) (cease func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if err := call(context.WithoutCancel(ctx)); ctx.Err() == nil {
					done(err)
				}
			}
		})
	}
	cease = sync.OnceFunc(func() {
		cancel()
		callers.Wait()
	})
	t.Cleanup(cease)
	return cease
}

// counted runs a server that counts its calls, and callers of it that go past the registry and so do not hear that it drains.
func counted(t *testing.T, reg *rollcall.Registry, done func(error), opts ...rollcallgrpc.ServeOption) (g *greeter, conn *grpc.ClientConn, cease func()) {
	t.Helper()
	var calls rollcallgrpc.Calls
	g = newGreeter(t, calls.ServerOptions()...)
	g.work = 10 * time.Millisecond
	g.serve(t, reg, append([]rollcallgrpc.ServeOption{rollcallgrpc.WithCalls(&calls)}, opts...)...)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
	conn = direct(t, g)
	cease = keepCalling(t, func(context.Context) error {
		_, err := greet(t, conn)
		return err
	}, done)
	awaitCount(t, &g.calls, 20)
	return g, conn, cease
}

func TestAServerStaysWhileCallsComeAndLeavesSoonAfterThoughProbesGoOn(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	g, conn, cease := counted(t, reg, func(err error) {
		if err != nil {
			t.Errorf("a call while the server drained: %v", err)
		}
	}, rollcallgrpc.WithDrainDelay(grpcPatience))
	// A test that hangs is ended by the same time: the server must not leave for that.
	probe := healthpb.NewHealthClient(conn)
	stopProbes := keepCalling(t, func(ctx context.Context) error {
		_, err := probe.Check(ctx, &healthpb.HealthCheckRequest{})
		return err
	}, func(error) {})

	g.stop()
	awaitGreeters(t, reg, func(v *rollcall.View) bool {
		i, found := v.Get(g.addr)
		return found && i.State == rollcall.StateDraining
	})
	<-time.After(time.Second) // four times as long as a server waits for another call
	select {
	case <-g.ended:
		t.Fatal("the server has left though calls still came")
	default:
	}
	cease()
	ceased := time.Now()
	if err := g.wait(t); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if took := time.Since(ceased); took > grpcPatience/2 {
		t.Errorf("it left %v after the last call, which is after its drain delay and not after its callers", took)
	}
	stopProbes()
}

func TestAServerLeavesAfterTheDrainDelayThoughCallsStillCome(t *testing.T) {
	t.Parallel()
	const delay = 600 * time.Millisecond
	var log lockedLog
	g, _, cease := counted(t, grpcRegistry(t, etcdtest.Start(t)), func(error) {}, // in the end they fail, of course
		rollcallgrpc.WithDrainDelay(delay), rollcallgrpc.WithLogger(log.logger()))
	told := time.Now()
	g.stop()
	if err := g.wait(t); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if took := time.Since(told); took < delay {
		t.Errorf("it left after %v, before its drain delay, though calls came", took)
	}
	cease()
	if !strings.Contains(log.String(), "calls still come") {
		t.Errorf("the log does not say that calls still came:\n%s", log.String())
	}
}

// What is documented, and in docs/serving.md part of a sum, is that etcd delays the end by 6 seconds at most.
func TestAnEtcdThatIsDownDelaysTheEndOfAServerByNoMoreThanIsSaid(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	longDrain := rollcallgrpc.WithDrainDelay(grpcPatience) // and nobody to hear of it
	registered := startGreeter(t, reg, longDrain)
	ready := make(chan *rollcall.Registration, 1)
	lost := startGreeter(t, reg, longDrain, rollcallgrpc.WithTTL(5*time.Second),
		rollcallgrpc.WithReady(func(r *rollcall.Registration) { ready <- r }))
	lostRegistration := <-ready
	etcd.Stop()
	never := newGreeter(t).serve(t, reg, longDrain)
	awaitHealth(t, direct(t, never), "", healthpb.HealthCheckResponse_SERVING)

	ends := func(g *greeter, most time.Duration, which string) {
		t.Helper()
		told := time.Now()
		g.stop()
		if err := g.wait(t); err != nil {
			t.Errorf("Serve of the one that %s: %v", which, err)
		}
		took := time.Since(told)
		t.Logf("the one that %s took %v", which, took)
		if took > most {
			t.Errorf("the one that %s took %v to end, want %v at most", which, took, most)
		}
	}
	const busy = 3 * time.Second // for a machine that does much else
	ends(registered, 6*time.Second+busy, "was registered")
	ends(never, 6*time.Second+busy, "never was registered")
	awaitState(t, lostRegistration, rollcall.Healing)
	ends(lost, 400*time.Millisecond+busy, "had lost its registration") // still less than etcd may take otherwise
}

// A watch of the health service is a stream that never ends by itself.
func TestWhoWatchesTheHealthOfAServerDoesNotKeepIt(t *testing.T) {
	t.Parallel()
	reg, own := grpcRegistry(t, etcdtest.Start(t)), health.NewServer()
	for name, opts := range map[string][]rollcallgrpc.ServeOption{
		"a health service of Serve": nil,
		"one of the caller":         {rollcallgrpc.WithHealth(own)},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGreeter(t, reg, append(opts, rollcallgrpc.WithStopTimeout(2*grpcPatience))...)
			stream, err := healthpb.NewHealthClient(direct(t, g)).Watch(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if reply, err := stream.Recv(); err != nil || reply.Status != healthpb.HealthCheckResponse_SERVING {
				t.Fatalf("the first word is %v, %v", reply, err)
			}
			g.stop()
			if reply, err := stream.Recv(); err != nil || reply.Status != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("the last word is %v, %v", reply, err)
			}
			if err := g.wait(t); err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}
