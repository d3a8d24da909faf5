//go:build unix

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcstats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/metadata"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/rollcall-io/rollcall"
	_ "github.com/rollcall-io/rollcall/balancer"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

const costInstances = 1000

func TestAPickTakesNoMemory(t *testing.T) {
	const noSubset = `{"subset":{"disabled":true}}`
	weights := func(n int, i *rollcall.Instance) { i.Weight = 50 + n%11*10 }
	zones := func(n int, i *rollcall.Instance) { i.Zone = "zone-" + strconv.Itoa(n%3) }
	versions := func(n int, i *rollcall.Instance) { i.Version = "v" + strconv.Itoa(n%2+1) }
	for _, c := range []struct {
		name, config string
		vary         func(int, *rollcall.Instance)
		most         float64
	}{
		{"alike", noSubset, nil, 0},
		{"weights", noSubset, weights, 0},
		{"zones", noSubset, zones, 0},
		{"split", `{"subset":{"disabled":true},"split":{"v2":10}}`, versions, 0},
		{"subset", `{}`, weights, 0},
		{"least request", `{"pick":"least_request","subset":{"disabled":true}}`, weights, 0},
		{"by header", `{"subset":{"disabled":true},"split":{"v2":10},"splitHeader":"x-user"}`, versions, 3}, // gRPC copies the headers
	} {
		p := costPolicy(t, "rollcall", c.config)
		p.show(t, firstView(c.vary).State())
		picker := p.cc.state.Load().Picker
		info := lb.PickInfo{FullMethodName: "/pkg.Service/Method", Ctx: metadata.AppendToOutgoingContext(context.Background(), "x-user", "somebody")}
		if got := testing.AllocsPerRun(1000, func() {
			picked, err := picker.Pick(info)
			if err != nil {
				t.Fatal(err)
			}
			if picked.Done != nil {
				picked.Done(lb.DoneInfo{BytesSent: true, BytesReceived: true})
			}
		}); got > c.most {
			t.Errorf("%s: %v allocations a pick, want at most %v", c.name, got, c.most)
		}
	}
}

// firstView is the view of a thousand instances.
func firstView(vary func(int, *rollcall.Instance)) *endpoints.View {
	v, _ := endpoints.NewReducer("svc", "zone-0", nil).Apply(costUpdates(vary))
	return v
}

func costUpdates(vary func(int, *rollcall.Instance)) []rollcall.Update {
	var updates []rollcall.Update
	for k := range costInstances {
		addr := fmt.Sprintf("10.0.%03d.%03d:50051", k>>8, k&255)
		i := &rollcall.Instance{ID: addr, Addr: addr, State: rollcall.StateServing, Weight: rollcall.DefaultWeight}
		if vary != nil {
			vary(k, i)
		}
		updates = append(updates, rollcall.Update{Op: rollcall.Add, Instance: i})
	}
	return updates
}

// The connections are not real: what is compared is what the policies do themselves. By the whole process it was 1/18 of the processor
// time when this was written.
func TestAChangeOfAWeightCostsAPolicyASmallPartOfRoundRobin(t *testing.T) {
	const changes = 20
	ours, its := costPolicy(t, "rollcall", `{"subset":{"disabled":true}}`), costPolicy(t, "round_robin", `{}`)
	reducer := endpoints.NewReducer("svc", "", nil)
	view, _ := reducer.Apply(costUpdates(nil))
	ours.show(t, view.State())
	its.show(t, asList(view))
	turn := 0
	// next is the state after another weight has changed, once as a view and once as a list that etcd's resolver would make.
	next := func() (byView, byList grpcresolver.State) {
		old := view.Instances[turn%costInstances]
		now := old.Clone()
		now.Weight ^= 16
		turn++
		view, _ = reducer.Apply([]rollcall.Update{{Op: rollcall.Modify, Instance: now, Prev: old}})
		return view.State(), asList(view)
	}
	var a, b spent
	atMost(t, "processor time for a change, beside round_robin", 1.0/3, func() float64 {
		var views, lists []grpcresolver.State
		for range changes {
			byView, byList := next()
			views, lists = append(views, byView), append(lists, byList)
		}
		a = costOf(changes, func() { ours.showAll(t, views) })
		b = costOf(changes, func() { its.showAll(t, lists) })
		return float64(a.cpu) / float64(b.cpu)
	})
	t.Logf("%+v beside %+v", a, b)
	if ratio := a.bytes / b.bytes; ratio > 0.06 {
		t.Errorf("a change allocates %.0f bytes, and %.0f with round_robin: %.3f", a.bytes, b.bytes, ratio)
	}
	if a.allocs > 100 {
		t.Errorf("a change among %d allocates %.0f times, and %.0f with round_robin", costInstances, a.allocs, b.allocs)
	}
}

// asList is a state without the view.
func asList(v *endpoints.View) grpcresolver.State {
	var s grpcresolver.State
	for _, i := range v.Instances {
		s.Endpoints = append(s.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: i.Addr}}})
	}
	return s
}

// policyAtWork is a load-balancing policy as gRPC has it, on connections that are READY when it wants them to be.
type policyAtWork struct {
	lb     lb.Balancer
	config serviceconfig.LoadBalancingConfig
	cc     *costConn
}

func costPolicy(t *testing.T, policy, config string) *policyAtWork {
	t.Helper()
	builder := lb.Get(policy)
	p := &policyAtWork{cc: &costConn{another: make(chan struct{}, 1)}}
	if parser, is := builder.(lb.ConfigParser); is {
		var err error
		if p.config, err = parser.ParseConfig(json.RawMessage(config)); err != nil {
			t.Fatal(err)
		}
	}
	p.lb = builder.Build(p.cc, lb.BuildOptions{})
	t.Cleanup(p.lb.Close)
	return p
}

func (p *policyAtWork) showAll(t *testing.T, states []grpcresolver.State) {
	for _, s := range states {
		p.show(t, s)
	}
}

// show shows the policy a state, and waits for the picker that comes of it, with all connections.
func (p *policyAtWork) show(t *testing.T, s grpcresolver.State) {
	pickers := p.cc.pickers.Load()
	if err := p.lb.UpdateClientConnState(lb.ClientConnState{ResolverState: s, BalancerConfig: p.config}); err != nil {
		t.Fatal(err)
	}
	p.cc.deliver()
	late := time.After(time.Minute)
	for !p.cc.settled(pickers) {
		select { // not by asking again and again, which would cost more than what is measured
		case <-p.cc.another:
		case <-late:
			t.Fatal("there is no other picker")
		}
	}
}

// costConn is a channel without a network.
type costConn struct {
	lb.ClientConn
	state   atomic.Pointer[lb.State]
	pickers atomic.Int64
	another chan struct{} // has room for one: there is another picker

	mu   sync.Mutex
	news []func() // for the policy, which must be back from calling us before it hears them
}

func (c *costConn) MetricsRecorder() grpcstats.MetricsRecorder         { return costMetrics{} }
func (c *costConn) Target() string                                     { return "rollcall:///svc" }
func (c *costConn) ResolveNow(grpcresolver.ResolveNowOptions)          {}
func (c *costConn) UpdateAddresses(lb.SubConn, []grpcresolver.Address) {}
func (c *costConn) RemoveSubConn(lb.SubConn)                           {}

func (c *costConn) NewSubConn(_ []grpcresolver.Address, opts lb.NewSubConnOptions) (lb.SubConn, error) {
	return &costSubConn{cc: c, told: opts.StateListener}, nil
}

func (c *costConn) later(news func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = append(c.news, news)
}

func (c *costConn) UpdateState(s lb.State) {
	c.state.Store(&s)
	c.pickers.Add(1)
	select {
	case c.another <- struct{}{}:
	default:
	}
}

// settled says whether there were more pickers than so many, and all connections are in the last.
func (c *costConn) settled(pickers int64) bool {
	last := c.state.Load()
	return last != nil && last.ConnectivityState == connectivity.Ready && c.pickers.Load() > pickers
}

// deliver tells the policy what has happened, until nothing more happens.
func (c *costConn) deliver() {
	for {
		c.mu.Lock()
		news := c.news
		c.news = nil
		c.mu.Unlock()
		if len(news) == 0 {
			return
		}
		for _, tell := range news {
			tell()
		}
	}
}

// costSubConn is a connection that stands as soon as it is wanted.
type costSubConn struct {
	lb.SubConn
	cc   *costConn
	told func(lb.SubConnState)
}

func (s *costSubConn) Connect() {
	s.cc.later(func() { s.told(lb.SubConnState{ConnectivityState: connectivity.Connecting}) })
	s.cc.later(func() { s.told(lb.SubConnState{ConnectivityState: connectivity.Ready}) })
}

func (s *costSubConn) Shutdown() {}

func (s *costSubConn) RegisterHealthListener(told func(lb.SubConnState)) {
	s.cc.later(func() { told(lb.SubConnState{ConnectivityState: connectivity.Ready}) })
}

func (s *costSubConn) GetOrBuildProducer(lb.ProducerBuilder) (lb.Producer, func()) {
	return nil, func() {}
}

type costMetrics struct {
	grpcstats.UnimplementedMetricsRecorder
}
