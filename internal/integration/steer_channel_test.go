package integration

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// steeredFleet is servers of two versions, several processes' worth of channels, callers on each of them who call all the
// time, and an operator.
type steeredFleet struct {
	operator   *rollcall.Registry
	old1, old2 *greeter // of v1, the first with thrice the weight
	new1, new2 *greeter // of v2
	callers    []*callers
}

func startSteeredFleet(t *testing.T) *steeredFleet {
	t.Helper()
	etcd := etcdtest.Start(t)
	f := &steeredFleet{operator: grpcRegistry(t, etcd), old1: newGreeter(t), old2: newGreeter(t), new1: newGreeter(t), new2: newGreeter(t)}
	f.old1.register(t, f.operator, rollcall.Instance{Version: "v1", Weight: 300})
	f.old2.register(t, f.operator, rollcall.Instance{Version: "v1"})
	f.new1.register(t, f.operator, rollcall.Instance{Version: "v2"})
	f.new2.register(t, f.operator, rollcall.Instance{Version: "v2"})
	for range 3 {
		conn := dial(t, grpcRegistry(t, etcd))
		tallyUntil(t, conn, 60, "half of the calls for the heavy one", share(f.old1, 30))
		f.callers = append(f.callers, startCallers(t, conn, 4))
	}
	return f
}

// all waits until every channel's calls are as wanted.
func (f *steeredFleet) all(t *testing.T, what string, wanted func(map[string]int) bool) {
	t.Helper()
	for _, c := range f.callers {
		c.awaitShares(t, what, wanted)
	}
}

// newCalls says how many calls of a tally go to v2.
func (f *steeredFleet) newCalls(least, most int) func(map[string]int) bool {
	return func(counts map[string]int) bool {
		n := counts[f.new1.addr] + counts[f.new2.addr]
		return n >= least && n <= most
	}
}

func TestPoliciesThatChangeUnderLoadReachEveryChannelAndFailNoCall(t *testing.T) {
	t.Parallel()
	f := startSteeredFleet(t)
	byDefault := share(f.old1, 50)
	split := func(percent float64) rollcall.Policy {
		return rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v2": percent}}}
	}
	even := func(counts map[string]int) bool {
		return share(f.old1, 25)(counts) && share(f.old2, 25)(counts) && share(f.new1, 25)(counts)
	}

	setPolicy(t, f.operator, grpcService, split(0))
	f.all(t, "no calls to v2", only(f.old1, f.old2))
	setPolicy(t, f.operator, grpcService, split(10))
	f.all(t, "a tenth of the calls to v2", f.newCalls(8, 12))
	setPolicy(t, f.operator, grpcService, split(100))
	f.all(t, "all calls to v2", only(f.new1, f.new2))
	setPolicy(t, f.operator, grpcService, rollcall.Policy{
		Timeout: 30 * time.Second, Retry: &rollcall.Retry{Attempts: 3, On: []string{"UNAVAILABLE", "ABORTED"}},
	})
	f.all(t, "what nobody decided is as it was", byDefault)
	setPolicy(t, f.operator, grpcService, rollcall.Policy{Balancer: "round_robin"})
	f.all(t, "calls in turn", even)
	setPolicy(t, f.operator, grpcService, rollcall.Policy{Balancing: rollcall.Balancing{Pick: rollcall.LeastRequest}})
	f.all(t, "by requests under way", only(f.old1, f.old2, f.new1, f.new2))
	setPolicy(t, f.operator, grpcService, rollcall.Policy{Balancer: "round_robin", Timeout: time.Minute})
	f.all(t, "calls in turn again", even)
	setPolicy(t, f.operator, grpcService, rollcall.Policy{Balancer: "not_linked_in"})
	setPolicy(t, f.operator, grpcService, split(100))
	f.all(t, "all calls to v2 again", only(f.new1, f.new2))
	deletePolicy(t, f.operator, grpcService)
	f.all(t, "their default", byDefault)
	for _, c := range f.callers {
		c.more(t, 100)
		c.mustNotFail(t)
	}
}

func TestAPolicyThatNoChannelCanCarryOutLeavesThemTheLastOne(t *testing.T) {
	t.Parallel()
	f := startSteeredFleet(t)
	setPolicy(t, f.operator, grpcService, rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v2": 100}}})
	f.all(t, "all calls to v2", only(f.new1, f.new2))
	setPolicy(t, f.operator, grpcService, rollcall.Policy{Balancer: "not_linked_in"})
	joined := newGreeter(t) // when it is called, the policy has arrived
	joined.register(t, f.operator, rollcall.Instance{Version: "v2"})
	f.all(t, "all calls to v2, as before", only(f.new1, f.new2, joined))
	for _, c := range f.callers {
		c.mustNotFail(t)
	}
}

func TestAServerThatAnOperatorDrainsUnderLoadGetsNoNewCallAndNoCallFails(t *testing.T) {
	t.Parallel()
	f := startSteeredFleet(t)
	override(t, f.operator, grpcService, f.old1.addr, rollcall.Override{Drain: true, Reason: "disk"})
	awaitNone(t, 200, []string{f.old1.addr}, f.callers...)
	calls := f.old1.calls.Load()
	for _, c := range f.callers {
		c.more(t, 500)
	}
	if n := f.old1.calls.Load() - calls; n != 0 {
		t.Errorf("%d calls reached it after the drain had arrived everywhere", n)
	}
	awaitGreeters(t, f.operator, func(v *rollcall.View) bool { return get(t, v, f.old1.addr).State == rollcall.StateServing }) // it lives

	if err := f.operator.DeleteOverride(within(t, steerPatience), grpcService, f.old1.addr, rollcall.AnyRevision); err != nil {
		t.Fatal(err)
	}
	f.all(t, "half of the calls again", share(f.old1, 50))
	override(t, f.operator, grpcService, f.old1.addr, rollcall.Override{Weight: 100})
	f.all(t, "as many as each other", share(f.old1, 25))
	long := override(t, f.operator, grpcService, f.old2.addr, rollcall.Override{Drain: true, Until: time.Now().Add(time.Hour)})
	awaitNone(t, 200, []string{f.old2.addr}, f.callers...)
	override(t, f.operator, grpcService, f.old2.addr, rollcall.Override{Drain: true, Until: time.Now().Add(2 * time.Second), Revision: long.Revision})
	for _, c := range f.callers {
		c.awaitAll(t, f.old2.addr) // its time is up
		c.mustNotFail(t)
	}
}

// fickle fails the first attempt of each call and answers the next, or takes its time.
type fickle struct {
	pb.UnimplementedGreeterServer
	attempts atomic.Int64
	fails    atomic.Bool
	hangs    atomic.Bool
}

func (s *fickle) SayHello(ctx context.Context, _ *pb.HelloRequest) (*pb.HelloReply, error) {
	n := s.attempts.Add(1)
	if s.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.fails.Load() && n%2 == 1 {
		return nil, status.Error(codes.Aborted, "try again")
	}
	return &pb.HelloReply{Message: "hello"}, nil
}

func TestRetriesAndTimeoutsOfAPolicyCountForCallsAndEndWithIt(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	g := newGreeter(t)
	s := &fickle{}
	g.srv = grpc.NewServer()
	pb.RegisterGreeterServer(g.srv, s)
	g.register(t, reg, rollcall.Instance{})
	conn := dial(t, reg)
	greetCode := func() codes.Code {
		_, err := greet(t, conn)
		return status.Code(err)
	}
	s.fails.Store(true)
	mustEqual(t, "without a policy", greetCode(), codes.Aborted)
	s.attempts.Store(0)
	setPolicy(t, reg, grpcService, rollcall.Policy{Retry: &rollcall.Retry{Attempts: 2, Backoff: time.Millisecond, On: []string{"ABORTED"}}})
	inARow := func(n int, want codes.Code) func() bool {
		return func() bool {
			for range n {
				if s.attempts.Store(0); greetCode() != want {
					return false
				}
			}
			return true
		}
	}
	eventually(t, grpcPatience, "calls that are tried again", inARow(5, codes.OK))
	deletePolicy(t, reg, grpcService)
	eventually(t, grpcPatience, "calls that are not", inARow(5, codes.Aborted))

	s.hangs.Store(true)
	setPolicy(t, reg, grpcService, rollcall.Policy{Timeout: 20 * time.Millisecond})
	short := func() codes.Code { // far from grpcPatience, so that the policy's is told from the caller's own
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{})
		if time.Since(began) > 4*time.Second {
			return codes.Unknown
		}
		return status.Code(err)
	}
	eventually(t, grpcPatience, "calls that end at the policy's timeout", func() bool { return short() == codes.DeadlineExceeded })
	deletePolicy(t, reg, grpcService)
	eventually(t, grpcPatience, "calls that end at their own", func() bool { return short() == codes.Unknown })
}

func TestAChannelOfAServiceWithAPolicyBeginsWithItAndReturnsToItsOwnDefault(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	heavy, light := newGreeter(t), newGreeter(t)
	heavy.register(t, reg, rollcall.Instance{Weight: 300})
	light.register(t, reg, rollcall.Instance{Weight: 100})
	setPolicy(t, reg, grpcService, rollcall.Policy{Balancer: "round_robin"})
	byWeight, even := share(heavy, 75), share(heavy, 50)
	own := grpcRegistry(t, etcd)
	for name, conn := range map[string]*grpc.ClientConn{
		"by the front door": dial(t, grpcRegistry(t, etcd)),
		"with a config":     dial(t, own, configured(own, policyConfig("rollcall", `{}`))),
		"with pick_first":   dial(t, own, configured(own, policyConfig("pick_first", `{}`))),
	} {
		setPolicy(t, reg, grpcService, rollcall.Policy{Balancer: "round_robin"})
		tallyUntil(t, conn, 100, name+": in turn", even)
		deletePolicy(t, reg, grpcService)
		if name == "with pick_first" {
			tallyUntil(t, conn, 100, name+": one server", func(counts map[string]int) bool { return len(counts) == 1 })
			continue
		}
		tallyUntil(t, conn, 100, name+": by weight", byWeight)
	}
}
