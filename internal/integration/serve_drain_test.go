package integration

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
)

// load calls the service from many callers at once, without a retry policy and without waiting for ready.
type load struct {
	calls  atomic.Int64
	mu     sync.Mutex
	failed []error // guarded by mu
}

func startLoad(t *testing.T, call func() error) *load {
	t.Helper()
	l := &load{}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for ctx.Err() == nil {
				err := call()
				l.calls.Add(1)
				if err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				}
			}
		})
	}
	t.Cleanup(callers.Wait)
	t.Cleanup(cancel)
	return l
}

// more waits for n further calls.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	awaitCount(t, &l.calls, l.calls.Load()+n)
}

func (l *load) failures() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func awaitCount(t *testing.T, count *atomic.Int64, n int64) {
	t.Helper()
	deadline := time.After(grpcPatience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for count.Load() < n {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d after %v, want %d", count.Load(), grpcPatience, n)
		}
	}
}

// restart replaces one of three servers under load, the way of the caller's choice, and returns the calls that failed.
// Each call takes the servers the given time.
func restart(t *testing.T, work time.Duration, opts ...rollcallgrpc.ServeOption) []error {
	t.Helper()
	etcd := etcdtest.Start(t)
	serve := func(opts ...rollcallgrpc.ServeOption) *greeter {
		g := newGreeter(t)
		g.work = work
		return g.serve(t, grpcRegistry(t, etcd), opts...)
	}
	a, b, leaver := serve(), serve(), serve(opts...)
	conn := dial(t, grpcRegistry(t, etcd))
	if _, err := greet(t, conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	greetUntil(t, conn, a.addr, b.addr, leaver.addr)

	l := startLoad(t, func() error {
		_, err := greet(t, conn)
		return err
	})
	l.more(t, 200)
	leaver.stop()
	if err := leaver.wait(t); err != nil {
		t.Errorf("Serve of the server that left: %v", err)
	}
	l.more(t, 200)
	joiner := serve()
	awaitCount(t, &joiner.calls, 20)
	return l.failures()
}

func TestRestartUnderLoadFailsNoCall(t *testing.T) {
	t.Parallel()
	if failed := restart(t, 20*time.Millisecond); len(failed) != 0 {
		t.Errorf("%d calls failed, the first with %v", len(failed), failed[0])
	}
}

// The control of the test above: it must be able to see what it says does not happen.
func TestRestartThatStopsAtOnceFailsCalls(t *testing.T) {
	t.Parallel()
	// Longer calls than above: some are under way however long the goodbye takes on a busy machine.
	if failed := restart(t, 300*time.Millisecond, rollcallgrpc.WithDrainDelay(0), rollcallgrpc.WithStopTimeout(0)); len(failed) == 0 {
		t.Error("no call failed though the server stopped at once: this load could not tell a good restart from a bad one")
	}
}
