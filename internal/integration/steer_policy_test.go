package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

const policyKey = "rollcall/control/svc/policy"

// setPolicy replaces whatever policy a service has.
func setPolicy(t *testing.T, reg *rollcall.Registry, service string, p rollcall.Policy) rollcall.Policy {
	t.Helper()
	p.Revision = rollcall.AnyRevision
	p, err := reg.SetPolicy(within(t, steerPatience), service, p)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func deletePolicy(t *testing.T, reg *rollcall.Registry, service string) {
	t.Helper()
	if err := reg.DeletePolicy(within(t, steerPatience), service, rollcall.AnyRevision); err != nil {
		t.Fatal(err)
	}
}

// timeout says that a view has a policy with a timeout; 0: that it has none.
func timeout(d time.Duration) func(*rollcall.View) bool {
	return func(v *rollcall.View) bool {
		return d == 0 && v.Policy == nil || v.Policy != nil && v.Policy.Timeout == d && d > 0
	}
}

func TestAPolicyReachesWatchersAsAViewWithoutUpdates(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	for name, layout := range steeredLayouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svc := layout.service
			reg, operator := open(t, etcd.Endpoint(), layout.opt), open(t, etcd.Endpoint(), layout.opt)
			register(t, reg, svc, rollcall.Instance{Addr: "10.0.0.1:1"})
			w, elsewhere := watch(t, reg, svc), watch(t, reg, svc+"2")
			before := next(t, w)
			next(t, elsewhere)
			if _, err := operator.Policy(within(t, steerPatience), svc); !errors.Is(err, rollcall.ErrNotFound) {
				t.Errorf("Policy of none: %v", err)
			}
			set := setPolicy(t, operator, svc, rollcall.Policy{
				Timeout: time.Second, Balancing: rollcall.Balancing{Split: map[string]float64{"v2": 10}}, Reason: "try", Author: "ada",
			})
			if _, there := keys(t, etcd.Client(t), layout.control)[layout.control+svc+"/policy"]; !there {
				t.Errorf("in etcd lie %v", keys(t, etcd.Client(t), ""))
			}
			v := until(t, w, steerPatience, "the policy", timeout(time.Second))
			mustEqual(t, "policy", *v.Policy, set)
			if len(v.Updates) != 0 || v.Reset || len(v.Since(before)) != 0 || len(v.Instances) != 1 || !v.StaleSince.IsZero() {
				t.Errorf("it came as %+v", v)
			}
			mustEqual(t, "Lookup", *lookUp(t, operator, svc).Policy, set)
			got, err := operator.Policy(within(t, steerPatience), svc)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "Policy", got, set)
			for _, late := range []*rollcall.Registry{reg, open(t, etcd.Endpoint(), layout.opt)} {
				mustEqual(t, "the first view of who comes later", *next(t, watch(t, late, svc)).Policy, set)
			}

			deletePolicy(t, operator, svc)
			v = until(t, w, steerPatience, "no policy", timeout(0))
			mustEqual(t, "updates", len(v.Updates), 0)
			if p := lookUp(t, operator, svc).Policy; p != nil {
				t.Errorf("Lookup: %+v", p)
			}
			noNews(t, elsewhere)
		})
	}
}

func TestABadDecisionInEtcdIsSkippedCountedAndLoggedOnceAndTheLastGoodOneStays(t *testing.T) {
	t.Parallel()
	var log recorder
	reg, etcd := start(t, rollcall.WithLogger(log.logger()))
	client := etcd.Client(t)
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	setPolicy(t, reg, "svc", rollcall.Policy{Timeout: time.Second})
	override(t, reg, "svc", "a", rollcall.Override{Drain: true})
	w, another := watch(t, reg, "svc"), watch(t, reg, "svc")
	next(t, another)
	until(t, w, steerPatience, "decided", func(v *rollcall.View) bool {
		return timeout(time.Second)(v) && effective("a", rollcall.StateDraining)(v)
	})
	garbage := []string{"", "x", "[]", `{"timeout":5}`, `{"timeout":"-1s"}`, `{"retry":{"attempts":99}}`, `{"split":{"v":1000}}`}
	for _, value := range garbage {
		put(t, client, policyKey, value)
	}
	put(t, client, "rollcall/control/svc/override/a", `{"Drain":"please"}`)
	register(t, reg, "svc", rollcall.Instance{ID: "b", Addr: "10.0.0.2:1"})
	eventually(t, steerPatience, "all of it skipped", func() bool { return reg.Status().Services[0].Skipped == int64(len(garbage)+1) })
	v := until(t, w, steerPatience, "what comes after it", hasIDs("a", "b"))
	if !timeout(time.Second)(v) || !effective("a", rollcall.StateDraining)(v) {
		t.Errorf("the last good ones are gone: %+v, %+v", v.Policy, get(t, v, "a"))
	}
	if _, err := reg.Policy(within(t, steerPatience), "svc"); err == nil || errors.Is(err, rollcall.ErrNotFound) || errors.Is(err, rollcall.ErrUnreachable) {
		t.Errorf("Policy of garbage: %v", err)
	}
	lookUp(t, reg, "svc") // meets it, too
	setPolicy(t, reg, "svc", rollcall.Policy{Timeout: 2 * time.Second})
	until(t, w, steerPatience, "the next good one", timeout(2*time.Second))
	if err := reg.Close(within(t, steerPatience)); err != nil { // when it returns, everything has been logged
		t.Error(err)
	}
	mustEqual(t, "logged", log.count("cannot be read"), len(garbage)+1)
}

func TestAWipeTakesDecisionsAwayAfterTheSuspicionOnly(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	const suspicion = 6 * time.Second
	doubting := open(t, etcd.Endpoint(), rollcall.WithSuspicion(suspicion))
	believing := open(t, etcd.Endpoint(), rollcall.WithSuspicion(0))
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	setPolicy(t, reg, "svc", rollcall.Policy{Timeout: time.Second})
	override(t, reg, "svc", "a", rollcall.Override{Drain: true})
	decided := func(v *rollcall.View) bool {
		return timeout(time.Second)(v) && effective("a", rollcall.StateDraining)(v)
	}
	undecided := func(v *rollcall.View) bool { return timeout(0)(v) && effective("a", rollcall.StateServing)(v) }
	w, at := watch(t, doubting, "svc"), watch(t, believing, "svc")
	until(t, w, steerPatience, "decided", decided)
	until(t, at, steerPatience, "decided", decided)

	etcd.Wipe()
	until(t, at, steerPatience, "believed at once", undecided)
	wiped := time.Now()
	v := until(t, w, 2*steerPatience, "the end of the suspicion", func(v *rollcall.View) bool {
		if decided(v) || v.Policy != nil && len(v.Instances) == 0 {
			return false
		}
		return undecided(v) || timeout(0)(v)
	})
	if early := time.Since(wiped); early < suspicion/3 {
		t.Errorf("given up after %v, want about %v: %+v", early, suspicion, v)
	}
	until(t, watch(t, doubting, "svc"), steerPatience, "both given up", undecided)
}

func TestAStartWithoutEtcdGoesByWhatOperatorsHadDecided(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reg, etcd := start(t)
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	p := setPolicy(t, reg, "svc", rollcall.Policy{Timeout: time.Second})
	o := override(t, reg, "svc", "a", rollcall.Override{Drain: true, Reason: "disk", Until: time.Now().Add(time.Hour)})
	before := open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir))
	until(t, watch(t, before, "svc"), steerPatience, "drained", effective("a", rollcall.StateDraining))
	if err := before.Close(within(t, steerPatience)); err != nil { // writes it
		t.Fatal(err)
	}
	etcd.Stop()
	w := watch(t, open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir)), "svc")
	v := next(t, w)
	if v.StaleSince.IsZero() || v.Policy == nil {
		t.Fatalf("recalled: %+v", v)
	}
	mustEqual(t, "policy", *v.Policy, p)
	mustDrain(t, v, "a", o)

	etcd.Restart()
	v = until(t, w, steerPatience, "fresh", func(v *rollcall.View) bool { return v.StaleSince.IsZero() })
	if v.Policy == nil || get(t, v, "a").Override == nil {
		t.Errorf("when etcd is back: policy %+v, a %+v", v.Policy, get(t, v, "a"))
	}
	deletePolicy(t, reg, "svc")
	if err := reg.DeleteOverride(within(t, steerPatience), "svc", "a", o.Revision); err != nil {
		t.Fatal(err)
	}
	until(t, w, steerPatience, "neither", func(v *rollcall.View) bool { return timeout(0)(v) && effective("a", rollcall.StateServing)(v) })
}

// etcd answers what instances there are, and dies before it tells what operators decided: that is not told to be nothing.
func TestRecalledDecisionsOutliveAnEtcdThatAnswersByHalves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reg, etcd := start(t)
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	override(t, reg, "svc", "a", rollcall.Override{Drain: true})
	before := open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir))
	until(t, watch(t, before, "svc"), steerPatience, "drained", effective("a", rollcall.StateDraining))
	if err := before.Close(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}

	cfg := rollcall.ClientConfig(etcd.Endpoint())
	refused := make(chan struct{}, 100)
	mute := func(method string, req any) error {
		if r, ok := req.(*pb.RangeRequest); ok && string(r.Key) == "rollcall/control/" {
			select {
			case refused <- struct{}{}:
			default:
			}
			return status.Error(codes.Unavailable, "not now")
		}
		return nil
	}
	cfg.DialOptions = append(cfg.DialOptions,
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if err := mute(method, req); err != nil {
				return err
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, desc, cc, method, opts...)
			return &mutedStream{s, method, mute}, err
		}))
	after, err := rollcall.Open(cfg, rollcall.WithSnapshotDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = after.Close(context.Background()) })
	w := watch(t, after, "svc")
	next(t, w)
	register(t, reg, "svc", rollcall.Instance{ID: "b", Addr: "10.0.0.2:1"})
	for range 3 {
		select {
		case <-refused:
		case <-time.After(steerPatience):
			t.Fatal("it is not asked what operators decided")
		}
	}
	v := until(t, w, steerPatience, "b", hasIDs("a", "b"))
	if get(t, v, "a").Serving() {
		t.Errorf("nobody drains a any more")
	}
}

type mutedStream struct {
	grpc.ClientStream
	method string
	mute   func(string, any) error
}

func (s *mutedStream) SendMsg(m any) error {
	if err := s.mute(s.method, m); err != nil {
		return err
	}
	return s.ClientStream.SendMsg(m)
}

// putLeased puts n instances under a lease each, held by nobody who would heal them, and returns the leases.
func putLeased(t *testing.T, client *clientv3.Client, n int) []clientv3.LeaseID {
	t.Helper()
	var granted []clientv3.LeaseID
	for i := range n {
		lease, err := client.Grant(within(t, steerPatience), 600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(within(t, steerPatience), fmt.Sprintf("rollcall/services/svc/%d", i), bare, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
		granted = append(granted, lease.ID)
	}
	return granted
}

func revokeAll(t *testing.T, client *clientv3.Client, leases []clientv3.LeaseID) {
	t.Helper()
	for _, id := range leases {
		revoke(t, client, id)
	}
}

func suspectCount(n, of int) func(*rollcall.View) bool {
	return func(v *rollcall.View) bool { return suspected(v) == n && len(v.Instances) == of }
}

func TestWhatAnOperatorAcceptsLeavesEveryViewAndLaterLossesAreDoubtedAgain(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	watchers := []*rollcall.Watcher{watch(t, reg, "svc"), watch(t, open(t, etcd.Endpoint()), "svc"), watch(t, open(t, etcd.Endpoint()), "svc")}
	for round := range 2 {
		held := putLeased(t, client, 5)
		for _, w := range watchers {
			until(t, w, steerPatience, "all there", suspectCount(0, 5))
		}
		revokeAll(t, client, held)
		for _, w := range watchers {
			until(t, w, steerPatience, fmt.Sprintf("all suspects, round %d", round), suspectCount(5, 5))
		}
		if err := reg.Accept(within(t, steerPatience), "svc", "the rack burnt down", "ada"); err != nil {
			t.Fatal(err)
		}
		for _, w := range watchers {
			until(t, w, steerPatience, fmt.Sprintf("none left, round %d", round), hasIDs())
		}
	}
	// Who comes later knows nothing of it, and doubts what is lost then.
	late := watch(t, open(t, etcd.Endpoint()), "svc")
	next(t, late)
	held := putLeased(t, client, 5)
	until(t, late, steerPatience, "all there", suspectCount(0, 5))
	revokeAll(t, client, held)
	until(t, late, steerPatience, "all suspects", suspectCount(5, 5))
}

// A store that was wiped counts from 1 again: what was accepted in the former one is in the future of this one.
func TestAnAcceptanceWorksAgainAfterAWipe(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	w := watch(t, reg, "svc")
	next(t, w)
	for range 50 {
		put(t, etcd.Client(t), "elsewhere", "")
	}
	if err := reg.Accept(within(t, steerPatience), "svc", "", ""); err != nil {
		t.Fatal(err)
	}
	putLeased(t, etcd.Client(t), 5)
	until(t, w, steerPatience, "all there", suspectCount(0, 5))
	etcd.Wipe()
	until(t, w, steerPatience, "all suspects", suspectCount(5, 5))
	if err := reg.Accept(within(t, steerPatience), "svc", "", ""); err != nil {
		t.Fatal(err)
	}
	until(t, w, steerPatience, "none left", hasIDs())
	held := putLeased(t, etcd.Client(t), 5)
	until(t, w, steerPatience, "all there again", suspectCount(0, 5))
	revokeAll(t, etcd.Client(t), held)
	until(t, w, steerPatience, "doubted again", suspectCount(5, 5))
}

func TestAPolicySteersTheGuardOfEveryCaller(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	other := open(t, etcd.Endpoint())
	watchers := []*rollcall.Watcher{watch(t, reg, "svc"), watch(t, other, "svc")}
	lose := func(guard *rollcall.GuardPolicy, n, of, suspects, left int) {
		t.Helper()
		deletePolicy(t, reg, "svc")
		held := putLeased(t, client, of)
		for _, w := range watchers {
			until(t, w, steerPatience, "all there, no policy", func(v *rollcall.View) bool { return suspectCount(0, of)(v) && v.Policy == nil })
		}
		setPolicy(t, reg, "svc", rollcall.Policy{Guard: guard})
		for _, w := range watchers {
			until(t, w, steerPatience, "the policy", func(v *rollcall.View) bool { return v.Policy != nil })
		}
		revokeAll(t, client, held[:n])
		for _, w := range watchers {
			until(t, w, steerPatience, fmt.Sprintf("%d left, %d of them suspects, of %d under %+v", left, suspects, of, guard), suspectCount(suspects, left))
		}
		revokeAll(t, client, held[n:])
		if err := reg.Accept(within(t, steerPatience), "svc", "", ""); err != nil {
			t.Fatal(err)
		}
		for _, w := range watchers {
			if left > 0 {
				until(t, w, steerPatience, "none", hasIDs())
			}
		}
	}
	lose(&rollcall.GuardPolicy{Disabled: true}, 5, 5, 0, 0)
	lose(&rollcall.GuardPolicy{Least: 5}, 4, 5, 0, 1)
	lose(&rollcall.GuardPolicy{Least: 2}, 2, 2, 2, 2)
	lose(&rollcall.GuardPolicy{Percent: 20}, 3, 8, 3, 8)
}
