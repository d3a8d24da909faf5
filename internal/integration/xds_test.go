package integration

import (
	"math"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/xds"
)

// xdsWorld is an etcd, a server of xDS, and servers of the service to call.
type xdsWorld struct {
	etcd   *etcdtest.Server
	reg    *rollcall.Registry // of the servers of the service
	server *xdsServer
}

func startXDS(t *testing.T) *xdsWorld {
	t.Helper()
	etcd := etcdtest.Start(t)
	w := &xdsWorld{etcd: etcd, reg: open(t, etcd.Endpoint())}
	w.server = serveXDS(t, open(t, etcd.Endpoint(), rollcall.WithFollowAll()), xds.Config{})
	return w
}

// add runs one more server of the service.
func (w *xdsWorld) add(t *testing.T, inst rollcall.Instance) (*greeter, *rollcall.Registration) {
	t.Helper()
	g := newGreeter(t)
	return g, g.register(t, w.reg, inst)
}

// settle waits until the server tells, and its clients know, what was written up to now.
func (w *xdsWorld) settle(t *testing.T) {
	t.Helper()
	settleXDS(t, w.etcd, w.server)
}

func settleXDS(t *testing.T, etcd *etcdtest.Server, server *xdsServer) {
	t.Helper()
	now, err := etcd.Client(t).Get(within(t, xdsPatience), "now")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Acknowledged(within(t, xdsPatience), grpcService, now.Header.GetRevision()); err != nil {
		t.Fatal(err)
	}
}

// steer has the service's policy replaced.
func (w *xdsWorld) steer(t *testing.T, p rollcall.Policy) {
	t.Helper()
	former, err := w.reg.Policy(within(t, xdsPatience), grpcService)
	if err == nil {
		p.Revision = former.Revision
	}
	if _, err := w.reg.SetPolicy(within(t, xdsPatience), grpcService, p); err != nil {
		t.Fatal(err)
	}
}

// caller calls the service from a zone.
func (w *xdsWorld) caller(t *testing.T, zone string) *caller {
	t.Helper()
	w.settle(t)
	return startCaller(t, dialXDS(t, grpcService, xdsBootstrap(zone, w.server.addr)))
}

func TestXDSClientsFollowWhoIsThere(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, _ := w.add(t, rollcall.Instance{})
	c := w.caller(t, "")
	c.until(a.addr)
	b, hold := w.add(t, rollcall.Instance{})
	c.until(a.addr, b.addr)
	if err := hold.Drain(within(t, xdsPatience)); err != nil {
		t.Fatal(err)
	}
	c.until(a.addr)
	if err := hold.Update(within(t, xdsPatience), func(i *rollcall.Instance) { i.State = rollcall.StateServing }); err != nil {
		t.Fatal(err)
	}
	c.until(a.addr, b.addr)
	if err := hold.Deregister(within(t, xdsPatience)); err != nil {
		t.Fatal(err)
	}
	c.until(a.addr)
	c.unfailed()
	for _, client := range w.server.Clients() {
		for _, watched := range client.Types {
			if watched.Refusal != nil {
				t.Errorf("%s refused %s: %s", client.ID, watched.TypeURL, watched.Refusal.Detail)
			}
		}
	}
}

func TestXDSClientsOfAnUnknownNameFailAtOnceAndCallItsFirstInstance(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	conn := dialXDS(t, grpcService, xdsBootstrap("", w.server.addr))
	begun := time.Now()
	_, err := greet(t, conn)
	if took := time.Since(begun); status.Code(err) != codes.Unavailable || took > 5*time.Second { // a client that is not answered gives up after 15 s
		t.Fatalf("a call to nobody: %v after %v", err, took)
	}
	g, _ := w.add(t, rollcall.Instance{})
	eventually(t, xdsPatience, "the first instance", func() bool {
		addr, err := greet(t, conn)
		return err == nil && addr == g.addr
	})
}

func TestXDSClientsCallAsOftenAsWeightsSay(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, _ := w.add(t, rollcall.Instance{})
	b, hold := w.add(t, rollcall.Instance{Weight: 300})
	c := w.caller(t, "")
	c.until(a.addr, b.addr)
	if got := percentOf(c.next(2000), b.addr); math.Abs(got-75) > 5 {
		t.Errorf("%.0f %% of the calls go to the one with 3 of 4 weights", got)
	}
	if err := hold.Update(within(t, xdsPatience), func(i *rollcall.Instance) { i.Weight = 25 }); err != nil {
		t.Fatal(err)
	}
	eventually(t, xdsPatience, "a fifth of the calls", func() bool { return math.Abs(percentOf(c.next(1000), b.addr)-20) < 4 })
	c.unfailed()
}

func TestXDSClientsStayInTheirZoneWhileItHasAnybody(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, hold := w.add(t, rollcall.Instance{Zone: "a"})
	b, _ := w.add(t, rollcall.Instance{Zone: "b"})
	inA, inB, elsewhere := w.caller(t, "a"), w.caller(t, "b"), w.caller(t, "c")
	inA.until(a.addr)
	inB.until(b.addr)
	elsewhere.until(a.addr, b.addr)
	if err := hold.Drain(within(t, xdsPatience)); err != nil {
		t.Fatal(err)
	}
	inA.until(b.addr)
	for _, c := range []*caller{inA, inB, elsewhere} {
		c.unfailed()
	}
}

func TestXDSClientsLeaveAZoneThatDiesForTheOthers(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, _ := w.add(t, rollcall.Instance{Zone: "a"})
	b, _ := w.add(t, rollcall.Instance{Zone: "b"})
	inA := w.caller(t, "a")
	inA.until(a.addr)
	a.srv.GracefulStop() // its key stays: nobody but its callers knows
	inA.until(b.addr)
	inA.unfailed()
}

func TestXDSClientsSpillOverFromAThinZone(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, _ := w.add(t, rollcall.Instance{Zone: "a"})
	var others []string
	for range 3 {
		b, _ := w.add(t, rollcall.Instance{Zone: "b"})
		others = append(others, b.addr)
	}
	inA := w.caller(t, "a")
	inA.until(append(others, a.addr)...)
	if got := percentOf(inA.next(2000), a.addr); math.Abs(got-50) > 5 { // a quarter of the capacity, where half would be fair
		t.Errorf("%.0f %% of the calls stay in a zone that has capacity for half of them", got)
	}
	inA.unfailed()
}

func TestXDSClientsFollowASplitAndItsEnd(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	v1, _ := w.add(t, rollcall.Instance{Version: "v1"})
	v2, hold := w.add(t, rollcall.Instance{Version: "v2"})
	c := w.caller(t, "")
	c.until(v1.addr, v2.addr)
	near := func(want float64) func() bool {
		return func() bool { return math.Abs(percentOf(c.next(1500), v2.addr)-want) < 4 }
	}
	eventually(t, xdsPatience, "half of the calls without a split", near(50))
	w.steer(t, rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v2": 20}}})
	eventually(t, xdsPatience, "a fifth of the calls with a split", near(20))
	if err := hold.Deregister(within(t, xdsPatience)); err != nil {
		t.Fatal(err)
	}
	c.until(v1.addr) // what nobody can take, the others take over
	back, _ := w.add(t, rollcall.Instance{Version: "v2"})
	eventually(t, xdsPatience, "a fifth of the calls again", func() bool { return math.Abs(percentOf(c.next(1500), back.addr)-20) < 4 })
	policy, err := w.reg.Policy(within(t, xdsPatience), grpcService)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.reg.DeletePolicy(within(t, xdsPatience), grpcService, policy.Revision); err != nil {
		t.Fatal(err)
	}
	eventually(t, xdsPatience, "half of the calls after the split", func() bool { return math.Abs(percentOf(c.next(1500), back.addr)-50) < 4 })
	c.unfailed()
}

func TestXDSClientsObeyAPolicy(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	g := newGreeter(t)
	g.work = 3 * time.Second
	g.register(t, w.reg, rollcall.Instance{})
	conn := dialXDS(t, grpcService, xdsBootstrap("", w.server.addr))
	w.steer(t, rollcall.Policy{Timeout: 100 * time.Millisecond, Retry: &rollcall.Retry{Attempts: 3}})
	eventually(t, xdsPatience, "the policy's time limit", func() bool {
		begun := time.Now()
		_, err := greet(t, conn)
		return status.Code(err) == codes.DeadlineExceeded && time.Since(begun) < g.work
	})
	w.steer(t, rollcall.Policy{Balancing: rollcall.Balancing{
		Pick: rollcall.LeastRequest, SlowStart: time.Second, Ejection: rollcall.Ejection{Failures: 3, Time: 5 * time.Second, MaxPercent: 50},
	}})
	eventually(t, xdsPatience, "no time limit any more", func() bool {
		addr, err := greet(t, conn)
		return err == nil && addr == g.addr
	})
	for _, balancer := range []string{"round_robin", "pick_first", "ring_hash_experimental", "weighted_round_robin", "nobody_has_this"} {
		w.steer(t, rollcall.Policy{Balancer: balancer})
		w.settle(t)
	}
	for _, client := range w.server.Clients() {
		for _, watched := range client.Types {
			if watched.Refusal != nil {
				t.Errorf("%s refused %s: %s", client.ID, watched.TypeURL, watched.Refusal.Detail)
			}
		}
	}
}

func TestXDSClientsCallOnWhileTheServerRestarts(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, _ := w.add(t, rollcall.Instance{})
	c := w.caller(t, "")
	c.until(a.addr)
	before := w.server.Clients()[0]
	w.server.stop()
	c.next(100)
	w.server = serveXDSAt(t, w.server.addr, open(t, w.etcd.Endpoint(), rollcall.WithFollowAll()), xds.Config{})
	w.settle(t)
	b, _ := w.add(t, rollcall.Instance{})
	c.until(a.addr, b.addr)
	c.unfailed()
	after := w.server.Clients()[0]
	for n, watched := range after.Types {
		if watched.TypeURL == before.Types[n].TypeURL && watched.Version != before.Types[n].Version && n != 1 { // the endpoints changed
			t.Errorf("%s has version %s, and %s before the restart", watched.TypeURL, watched.Version, before.Types[n].Version)
		}
	}
}

func TestXDSClientsGoToASecondServer(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	second := serveXDS(t, open(t, w.etcd.Endpoint(), rollcall.WithFollowAll()), xds.Config{})
	a, _ := w.add(t, rollcall.Instance{})
	w.server.stop()
	settleXDS(t, w.etcd, second)
	c := startCaller(t, dialXDS(t, grpcService, xdsBootstrap("", w.server.addr, second.addr)))
	c.until(a.addr)
	b, _ := w.add(t, rollcall.Instance{})
	c.until(a.addr, b.addr)
	c.unfailed()
}

func TestXDSServesWhatItKnowsWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, _ := w.add(t, rollcall.Instance{})
	c := w.caller(t, "")
	c.until(a.addr)
	sent := w.server.Stats().Responses
	w.etcd.Stop()
	late := startCaller(t, dialXDS(t, grpcService, xdsBootstrap("", w.server.addr)))
	late.until(a.addr)
	c.next(200)
	if got := w.server.Stats().Responses; got != sent+4 { // those to the second client
		t.Errorf("%d responses while nothing changed, beside 4 to a new client", got-sent-4)
	}
	w.etcd.Restart()
	b, _ := w.add(t, rollcall.Instance{})
	c.until(a.addr, b.addr)
	c.unfailed()
	late.unfailed()
}

func TestAcknowledgedWaitsForEveryClientOfTheService(t *testing.T) {
	t.Parallel()
	w := startXDS(t)
	a, _ := w.add(t, rollcall.Instance{})
	b, _ := w.add(t, rollcall.Instance{})
	c := w.caller(t, "")
	c.until(a.addr, b.addr)
	o, err := w.reg.SetOverride(within(t, xdsPatience), grpcService, b.addr, rollcall.Override{Drain: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.Acknowledged(within(t, xdsPatience), grpcService, o.Revision); err != nil {
		t.Fatal(err)
	}
	b.srv.GracefulStop() // nobody calls it any more
	c.next(200)
	c.unfailed()
}
