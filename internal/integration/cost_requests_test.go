package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

const (
	heartbeatMethod = "/etcdserverpb.Lease/LeaseKeepAlive"
	watchMethod     = "/etcdserverpb.Watch/Watch"
)

func TestHundredsOfRegistrationsAreAFewRequests(t *testing.T) {
	t.Parallel()
	const n, few = 300, 30 // where everything waits for a processor, what is sent together is less, and a stream may be taken for dead
	etcd := etcdtest.Start(t)
	reg, asked := accounted(t, etcd)
	registerMany(t, reg, "svc", n)
	if got := asked.requests(); got > few { // 4 to 6 on a machine that does nothing else
		t.Errorf("%d requests for %d registrations: %v", got, n, asked)
	}
	if beats, watches := asked.of(heartbeatMethod).calls, asked.of(watchMethod).calls; beats > few || watches > few { // one, and one
		t.Errorf("%d streams of heartbeats and %d of watches for %d registrations", beats, watches, n)
	}
}

func TestHundredsOfRegistrationsHaveTheHeartbeatsOfOne(t *testing.T) {
	t.Parallel()
	const n, beats, few = 300, 3, 20
	etcd := etcdtest.Start(t)
	single, askedOfOne := accounted(t, etcd)
	many, askedOfMany := accounted(t, etcd)
	oftenBeating(t, single, 1)
	oftenBeating(t, many, n)
	requests, began, already := askedOfMany.requests(), askedOfOne.of(heartbeatMethod).sent, askedOfMany.of(heartbeatMethod).sent
	eventually(t, time.Minute, "some heartbeats of one", func() bool { return askedOfOne.of(heartbeatMethod).sent >= began+beats })
	eventually(t, time.Minute, "as many of the others", func() bool { return askedOfMany.of(heartbeatMethod).sent >= already+beats })
	if got := askedOfMany.of(heartbeatMethod).sent - already; got > few {
		t.Errorf("%d heartbeats for %d registrations, while one had %d", got, n, askedOfOne.of(heartbeatMethod).sent-began)
	}
	if got := askedOfMany.requests() - requests; got > few {
		t.Errorf("%d requests besides: %v", got, askedOfMany)
	}
	if got := askedOfMany.of(heartbeatMethod).calls; got > few {
		t.Errorf("%d streams of heartbeats: %v", got, askedOfMany)
	}
}

// oftenBeating registers n instances with the least TTL, whose heartbeats come most often.
func oftenBeating(t *testing.T, reg *rollcall.Registry, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			addr := fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255)
			if _, err := reg.Register(within(t, time.Minute), fmt.Sprint("svc-", n), rollcall.Instance{Addr: addr}, rollcall.WithTTL(rollcall.MinTTL)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAThousandWatchersOfAServiceWatchAsOne(t *testing.T) {
	t.Parallel()
	const n = 1000
	etcd := etcdtest.Start(t)
	registrar := open(t, etcd.Endpoint())
	register(t, registrar, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	reg, asked := accounted(t, etcd)
	var watchers []*rollcall.Watcher
	for range n {
		watchers = append(watchers, watch(t, reg, "svc"))
	}
	told := func(instances int) {
		for _, w := range watchers {
			until(t, w, time.Minute, fmt.Sprint(instances, " instances"), func(v *rollcall.View) bool { return len(v.Instances) == instances })
		}
	}
	told(1)
	if got := asked.requests(); got > 10 {
		t.Errorf("%d requests for %d watchers: %v", got, n, asked)
	}
	if got := asked.of(watchMethod); got.calls != 1 || got.watches > 3 { // the instances, what is decided about them, and the policy
		t.Errorf("%d streams with %d watches for %d watchers", got.calls, got.watches, n)
	}
	before := asked.requests()
	register(t, registrar, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	told(2)
	if got := asked.requests() - before; got > 2 {
		t.Errorf("%d requests because of a change, for %d watchers: %v", got, n, asked)
	}
}

// accounted opens a registry whose requests are counted.
func accounted(t *testing.T, etcd *etcdtest.Server, opts ...rollcall.Option) (*rollcall.Registry, *ledger) {
	t.Helper()
	tr := &ledger{methods: map[string]asked{}}
	cfg := rollcall.ClientConfig(etcd.Endpoint())
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithStatsHandler(tr))
	reg, err := rollcall.Open(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := reg.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return reg, tr
}

// ledger counts what etcd is asked.
type ledger struct {
	mu      sync.Mutex
	methods map[string]asked // guarded by mu
}

// asked is how often a method was called, with how many messages, and how many of them ask for a watch.
type asked struct {
	stream               bool
	calls, sent, watches int
}

type methodKey struct{}

func (tr *ledger) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName)
}

func (tr *ledger) HandleRPC(ctx context.Context, s stats.RPCStats) {
	method, _ := ctx.Value(methodKey{}).(string)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	a := tr.methods[method]
	switch s := s.(type) {
	case *stats.Begin:
		a.calls++
		a.stream = s.IsClientStream
	case *stats.OutPayload:
		a.sent++
		if r, is := s.Payload.(*pb.WatchRequest); is && r.GetCreateRequest() != nil {
			a.watches++
		}
	}
	tr.methods[method] = a
}

func (tr *ledger) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (tr *ledger) HandleConn(context.Context, stats.ConnStats)                       {}

func (tr *ledger) of(method string) asked {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.methods[method]
}

// requests is how many there were that are no streams.
func (tr *ledger) requests() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	n := 0
	for _, a := range tr.methods {
		if !a.stream {
			n += a.calls
		}
	}
	return n
}

func (tr *ledger) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return fmt.Sprintf("%+v", tr.methods)
}
