package integration

import (
	"testing"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func setHealth(own *health.Server, status healthpb.HealthCheckResponse_ServingStatus) {
	own.SetServingStatus("", status)
}

// It answers TCP and calls as before; only its own word is that it does not serve.
func TestAServerThatFailsItsCheckGetsNoCallsUntilItIsWellAgain(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd) // a client on bare etcd
	startChecking(t, etcd, "a")
	well, _ := examined(t, reg, quick)
	sick, own := examined(t, reg, quick)
	conn := dial(t, reg)
	tallyUntil(t, conn, 20, "calls to both", only(well, sick))
	calling := startCallers(t, conn, 2)
	w := watch(t, grpcRegistry(t, etcd), grpcService)
	untilHealth(t, w, grpcPatience, 2)

	setHealth(own, notServing)
	v := untilHealth(t, w, sureWithin, 2, sick.addr)
	if i, _ := v.Get(sick.addr); i.Health.Detail != "NOT_SERVING" || i.Health.Checker != "a" || i.Suspect || i.Serving() {
		t.Errorf("the instance is %+v with %+v", i, i.Health)
	}
	awaitNone(t, 50, []string{sick.addr}, calling)
	before := sick.calls.Load()
	calling.more(t, 200)
	if n := sick.calls.Load() - before; n != 0 {
		t.Errorf("%d calls went to the unhealthy server", n)
	}
	mustEqual(t, "instances to be called", readyIDs(v), []string{well.addr})

	setHealth(own, serving)
	untilHealth(t, w, sureWithin, 2)
	calling.awaitAll(t, well.addr, sick.addr)
	calling.mustNotFail(t)
}

func readyIDs(v *rollcall.View) []string {
	var ids []string
	for i := range v.Ready() {
		ids = append(ids, i.ID)
	}
	return ids
}

func TestWhenAllAreUnhealthyAllAreCalled(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	startChecking(t, etcd, "a")
	a, ownA := examined(t, reg, quick)
	b, ownB := examined(t, reg, quick)
	conn := dial(t, reg)
	tallyUntil(t, conn, 20, "calls to both", only(a, b))
	w := watch(t, reg, grpcService)
	setHealth(ownA, notServing)
	setHealth(ownB, notServing)
	v := untilHealth(t, w, sureWithin, 2, a.addr, b.addr)
	if len(readyIDs(v)) != 2 {
		t.Errorf("to be called: %v", readyIDs(v))
	}
	tallyUntil(t, conn, 20, "calls to both unhealthy ones", only(a, b))
}

func TestAServerThatIsOnlyACheckLessIsCalledLikeBefore(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	s := startChecking(t, etcd, "a")
	sick, own := examined(t, reg, quick)
	unasked, ownUnasked := newGreeter(t), health.NewServer()
	healthpb.RegisterHealthServer(unasked.srv, ownUnasked)
	unasked.register(t, reg, rollcall.Instance{})
	setHealth(ownUnasked, notServing)
	setHealth(own, notServing)
	v := untilHealth(t, watch(t, reg, grpcService), sureWithin, 2, sick.addr)
	mustEqual(t, "instances to be called", readyIDs(v), []string{unasked.addr})
	if n := s.checker.Stats().Checked; n != 1 {
		t.Errorf("%d instances are checked, want the one that asks", n)
	}
}
