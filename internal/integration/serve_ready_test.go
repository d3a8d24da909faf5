package integration

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// shutLists keeps lists from a registry, so that it can register and no watch of it can see that.
type shutLists struct{ open atomic.Bool }

func (s *shutLists) pass(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if r, is := req.(*pb.RangeRequest); is && len(r.RangeEnd) > 0 && !s.open.Load() {
		return status.Error(codes.Unavailable, "lists are shut")
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

func TestReadyIsToldOnceAWatchHasSeenTheServer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reopens bool
		says    string
	}{
		"seen":            {true, "seen by a watch"},
		"not seen in 2 s": {false, "no watch has seen it yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd, lists, log := etcdtest.Start(t), new(shutLists), new(lockedLog)
			observer := grpcRegistry(t, etcd)
			ready := make(chan *rollcall.Registration, 2)
			g := newGreeter(t).serve(t, openWith(t, etcd.Endpoint(), grpc.WithChainUnaryInterceptor(lists.pass)),
				rollcallgrpc.WithLogger(log.logger()),
				rollcallgrpc.WithReady(func(r *rollcall.Registration) {
					if tc.reopens && !lists.open.Load() {
						t.Errorf("told before a watch could have seen the server:\n%s", log)
					}
					ready <- r
				}))
			awaitGreeters(t, observer, func(v *rollcall.View) bool { return holds(v, g.addr) })
			if tc.reopens {
				lists.open.Store(true)
			}
			select {
			case r := <-ready:
				if s := r.Status(); s.State != rollcall.Registered || r.Instance().ID != g.addr {
					t.Errorf("ready is %s, %+v", r.Instance().ID, s)
				}
			case <-within(t, grpcPatience).Done():
				t.Fatal("ready is not told")
			}
			if !strings.Contains(log.String(), tc.says) {
				t.Errorf("the log does not say %q:\n%s", tc.says, log)
			}
			g.stop()
			_ = g.wait(t)
			if len(ready) != 0 {
				t.Error("ready was told twice")
			}
		})
	}
}

func TestReadyIsToldWhenEtcdIsBackAndNotBefore(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	etcd.Stop()
	ready := make(chan *rollcall.Registration, 1)
	g := newGreeter(t).serve(t, grpcRegistry(t, etcd), rollcallgrpc.WithReady(func(r *rollcall.Registration) { ready <- r }))
	awaitHealth(t, direct(t, g), "", healthpb.HealthCheckResponse_SERVING)
	if len(ready) != 0 {
		t.Error("ready was told while etcd was down")
	}
	etcd.Restart()
	select {
	case r := <-ready:
		if s := r.Status(); s.State != rollcall.Registered {
			t.Errorf("ready is told of a registration that is %+v", s)
		}
	case <-within(t, grpcPatience).Done():
		t.Fatal("ready is not told though etcd is back")
	}
}

func TestReadyIsNotToldOfAServerThatLeavesBefore(t *testing.T) {
	t.Parallel()
	etcd, down, lists := etcdtest.Start(t), etcdtest.Start(t), new(shutLists)
	observer := grpcRegistry(t, etcd)
	serve := func(reg *rollcall.Registry) *greeter {
		return newGreeter(t).serve(t, reg, rollcallgrpc.WithReady(func(r *rollcall.Registration) {
			t.Errorf("ready was told of %s", r.Instance().ID)
		}))
	}
	unseen := serve(openWith(t, etcd.Endpoint(), grpc.WithChainUnaryInterceptor(lists.pass)))
	awaitGreeters(t, observer, func(v *rollcall.View) bool { return holds(v, unseen.addr) })
	unseen.stop()
	_ = unseen.wait(t)
	down.Stop()
	unregistered := serve(grpcRegistry(t, down))
	awaitHealth(t, direct(t, unregistered), "", healthpb.HealthCheckResponse_SERVING)
	unregistered.stop()
	_ = unregistered.wait(t)
}

// What docs/serving.md advises for a readiness probe.
func TestANameOfTheHealthServiceCanSayWhetherAServerIsReady(t *testing.T) {
	t.Parallel()
	etcd, lists, checks := etcdtest.Start(t), new(shutLists), health.NewServer()
	observer := grpcRegistry(t, etcd)
	g := newGreeter(t).serve(t, openWith(t, etcd.Endpoint(), grpc.WithChainUnaryInterceptor(lists.pass)), rollcallgrpc.WithHealth(checks),
		rollcallgrpc.WithReady(func(*rollcall.Registration) {
			checks.SetServingStatus("ready", healthpb.HealthCheckResponse_SERVING)
		}))
	awaitGreeters(t, observer, func(v *rollcall.View) bool { return holds(v, g.addr) })
	asked := &healthpb.HealthCheckRequest{Service: "ready"}
	if reply, err := checks.Check(t.Context(), asked); status.Code(err) != codes.NotFound {
		t.Errorf("before callers can have heard of the server its readiness is %v, %v", reply, err)
	}
	if got := healthOf(t, direct(t, g), ""); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("its liveness is %v meanwhile", got)
	}
	lists.open.Store(true)
	eventually(t, grpcPatience, "readiness", func() bool {
		reply, err := checks.Check(t.Context(), asked)
		return err == nil && reply.Status == healthpb.HealthCheckResponse_SERVING
	})
	g.stop()
	_ = g.wait(t)
	if reply, err := checks.Check(t.Context(), asked); err != nil || reply.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("when it has left its readiness is %v, %v", reply, err)
	}
}
