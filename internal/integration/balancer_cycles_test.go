package integration

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// watchCounter counts the watches that a registry creates.
type watchCounter struct{ created atomic.Int64 }

func (w *watchCounter) option() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(w.open)
}

func (w *watchCounter) open(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	return &watchedStream{s, w}, err
}

type watchedStream struct {
	grpc.ClientStream
	counter *watchCounter
}

func (s *watchedStream) SendMsg(m any) error {
	if req, ok := m.(*pb.WatchRequest); ok && req.GetCreateRequest() != nil {
		s.counter.created.Add(1)
	}
	return s.ClientStream.SendMsg(m)
}

// watchedPair runs two servers, and returns a registry whose watch of them is under way.
func watchedPair(t *testing.T, etcd *etcdtest.Server, watches *watchCounter) (reg *rollcall.Registry, a, b *greeter) {
	t.Helper()
	reg = openWith(t, etcd.Endpoint(), watches.option())
	a = newGreeter(t).write(t, etcd)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, a.addr) })
	b = newGreeter(t).write(t, etcd)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, a.addr, b.addr) })
	return reg, a, b
}

// It runs while no other test does, so that every goroutine that is left is one of its own.
func TestAThousandChannelsShareAWatchAndLeaveNothingBehind(t *testing.T) {
	etcd := etcdtest.Start(t)
	var watches watchCounter
	reg, a, b := watchedPair(t, etcd, &watches)
	d := newDials()
	before := goleak.IgnoreCurrent()

	var cycles atomic.Int64
	var running sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for cycles.Add(1) <= 1000 {
				conn := dial(t, reg, d.option())
				if _, err := greet(t, conn); err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			}
		})
	}
	running.Wait()
	if n := watches.created.Load(); n != 2 {
		t.Errorf("%d watches were created, want one for all channels and one for what operators decided", n)
	}
	if a.calls.Load() == 0 || b.calls.Load() == 0 {
		t.Errorf("%d and %d calls: not all servers were called", a.calls.Load(), b.calls.Load())
	}
	eventually(t, grpcPatience, "connections closed", func() bool { return d.connections() == 0 })
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// It runs while no other test does, for the same reason.
func TestChannelsThatSleepAndWakeShareAWatchAndLeaveNothingBehind(t *testing.T) {
	etcd := etcdtest.Start(t)
	var watches watchCounter
	reg, a, b := watchedPair(t, etcd, &watches)
	d := newDials()
	before := goleak.IgnoreCurrent()

	const channels, cycles = 20, 20
	var running sync.WaitGroup
	for range channels {
		conn := dial(t, reg, d.option(), grpc.WithIdleTimeout(10*time.Millisecond))
		running.Go(func() {
			for range cycles {
				if _, err := greet(t, conn); err != nil {
					t.Errorf("a call that wakes a channel: %v", err)
				}
				awaitIdle(t, conn)
			}
			_ = conn.Close()
		})
	}
	running.Wait()
	eventually(t, grpcPatience, "connections closed", func() bool { return d.connections() == 0 })
	if n := d.dialled(); n[a.addr]+n[b.addr] < channels*cycles {
		t.Errorf("in %d cycles %v connections were made: the channels did not sleep", channels*cycles, n)
	}
	if n := watches.created.Load(); n != 2 {
		t.Errorf("%d watches were created, want one for all channels and all cycles, and one for what operators decided", n)
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func awaitIdle(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	for s := conn.GetState(); s != connectivity.Idle; s = conn.GetState() {
		if !conn.WaitForStateChange(ctx, s) {
			t.Errorf("the channel is %v and does not become idle", s)
			return
		}
	}
}

func TestAChannelWakesWithoutEtcd(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	a, b := newGreeter(t).write(t, etcd), newGreeter(t).write(t, etcd)
	reg := grpcRegistry(t, etcd)
	conn := dial(t, reg, grpc.WithIdleTimeout(100*time.Millisecond))
	tallyUntil(t, conn, 4, "calls to both", only(a, b))
	etcd.Stop()
	for range 3 {
		awaitAsleep(t, conn, reg)
		tallyUntil(t, conn, 4, "calls to both of a channel that was woken", only(a, b))
	}
	awaitAsleep(t, conn, reg)
	a.srv.Stop()
	mustEqual(t, "calls when only one lives", tally(t, conn, 20), map[string]int{b.addr: 20})
}

// awaitAsleep waits until a registry's only channel has become idle, and nobody watches any more.
func awaitAsleep(t *testing.T, conn *grpc.ClientConn, reg *rollcall.Registry) {
	t.Helper()
	awaitIdle(t, conn)
	eventually(t, grpcPatience, "no watchers", func() bool {
		for _, s := range reg.Status().Services {
			if s.Watchers > 0 {
				return false
			}
		}
		return true
	})
}
