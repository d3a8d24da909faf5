//go:build unix

package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// picking is a way to pick among instances.
type picking struct {
	name, policy, config string
	vary                 func(int, *rollcall.Instance)
	ended                bool // with the word of the call's end
}

func pickings() []picking {
	weights := func(n int, i *rollcall.Instance) { i.Weight = 50 + n%11*10 }
	zones := func(n int, i *rollcall.Instance) { i.Zone = "zone-" + strconv.Itoa(n%3) }
	versions := func(n int, i *rollcall.Instance) { i.Version = "v" + strconv.Itoa(n%2+1) }
	return []picking{
		{"rr", "round_robin", `{}`, nil, false},
		{"rollcall", "rollcall", `{"subset":{"disabled":true}}`, nil, false},
		{"rollcall-ended", "rollcall", `{"subset":{"disabled":true}}`, nil, true},
		{"rollcall-weights", "rollcall", `{"subset":{"disabled":true}}`, weights, false},
		{"rollcall-zones", "rollcall", `{"subset":{"disabled":true}}`, zones, false},
		{"rollcall-split", "rollcall", `{"subset":{"disabled":true},"split":{"v2":10}}`, versions, false},
		{"rollcall-sticky", "rollcall", `{"subset":{"disabled":true},"split":{"v2":10},"splitHeader":"x-user"}`, versions, false},
		{"rollcall-subset", "rollcall", `{}`, weights, false},
		{"rollcall-least", "rollcall", `{"pick":"least_request","subset":{"disabled":true}}`, weights, true},
	}
}

// BenchmarkPick measures what a pick takes among N instances whose connections are all READY: with round_robin, and with
// rollcall's policy in its several ways; and with the word of the call's end, which that wants for ejections ("ended") and for
// least request. They take turns. "serial" is one caller, "parallel" as many as there are processors; its figure is the time
// that passes for a caller.
func BenchmarkPick(b *testing.B) {
	const turns, batch = 5, 20_000
	info := balancer.PickInfo{
		FullMethodName: "/helloworld.Greeter/SayHello",
		Ctx:            metadata.AppendToOutgoingContext(context.Background(), "x-user", "somebody"),
	}
	for _, n := range sizes(10, 100, 1000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			all := pickings()
			var pickers []balancer.Picker
			for _, p := range all {
				pickers = append(pickers, newPicker(b, p.policy, p.config, n, p.vary))
			}
			for _, callers := range []int{1, runtime.GOMAXPROCS(0)} {
				b.Run(map[bool]string{true: "serial", false: "parallel"}[callers == 1], func(b *testing.B) {
					took, allocs := make([][]float64, len(all)), make([]float64, len(all))
					for b.Loop() {
						for range turns {
							for k, p := range all {
								d, a := pickMany(b, pickers[k], info, p.ended, batch, callers)
								took[k], allocs[k] = append(took[k], float64(d)/batch), a/float64(batch*callers)
							}
						}
					}
					for k, p := range all {
						b.ReportMetric(middle(took[k]), p.name+"-ns")
						b.ReportMetric(math.Round(allocs[k]), p.name+"-allocs")
					}
					b.ReportMetric(0, "ns/op")
				})
			}
		})
	}
}

// pickMany has callers pick so often each, and returns how long that took and what was allocated.
func pickMany(b *testing.B, picker balancer.Picker, info balancer.PickInfo, ended bool, times, callers int) (time.Duration, float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for range times {
				pick(b, picker, info, ended)
			}
		})
	}
	calling.Wait()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return took, float64(after.Mallocs - before.Mallocs)
}

// pick picks as gRPC does for a call, that goes well and ends at once if it is to end.
func pick(b *testing.B, picker balancer.Picker, info balancer.PickInfo, ended bool) {
	result, err := picker.Pick(info)
	if err != nil {
		b.Error(err)
	}
	if ended {
		result.Done(balancer.DoneInfo{BytesSent: true, BytesReceived: true})
	}
}

// newPicker builds a policy as gRPC would, for n instances, and returns its picker when they are all connected.
func newPicker(b *testing.B, policy, config string, n int, vary func(int, *rollcall.Instance)) balancer.Picker {
	b.Helper()
	builder := balancer.Get(policy)
	state := balancer.ClientConnState{ResolverState: stateOf(n, vary)}
	if p, ok := builder.(balancer.ConfigParser); ok {
		var err error
		if state.BalancerConfig, err = p.ParseConfig(json.RawMessage(config)); err != nil {
			b.Fatal(err)
		}
	}
	cc := &soleConn{}
	lb := builder.Build(cc, balancer.BuildOptions{})
	b.Cleanup(lb.Close)
	if err := lb.UpdateClientConnState(state); err != nil {
		b.Fatal(err)
	}
	cc.deliver()
	for deadline := time.Now().Add(time.Minute); cc.busy(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("no picker that stays")
		}
	}
	return cc.state.Load().Picker
}

// stateOf is what the resolver sends for n instances, to a caller in zone-0.
func stateOf(n int, vary func(int, *rollcall.Instance)) resolver.State {
	var updates []rollcall.Update
	for k := range n {
		addr := fmt.Sprintf("10.0.%d.%d:50051", k>>8, k&255)
		i := &rollcall.Instance{ID: addr, Addr: addr, State: rollcall.StateServing, Weight: rollcall.DefaultWeight}
		if vary != nil {
			vary(k, i)
		}
		updates = append(updates, rollcall.Update{Op: rollcall.Add, Instance: i})
	}
	v, _ := endpoints.NewReducer("svc", "zone-0", nil).Apply(updates)
	return v.State()
}

// soleConn is to a policy what gRPC's channel is, with connections that are READY as soon as they are told to connect.
type soleConn struct {
	balancer.ClientConn
	state   atomic.Pointer[balancer.State]
	changed atomic.Int64

	mu   sync.Mutex
	news []func() // for the policy, which must be back from calling us before it hears them
}

func (c *soleConn) MetricsRecorder() stats.MetricsRecorder { return noMetrics{} }
func (c *soleConn) Target() string                         { return "rollcall:///svc" }
func (c *soleConn) ResolveNow(resolver.ResolveNowOptions)  {}

func (c *soleConn) UpdateState(s balancer.State) {
	c.state.Store(&s)
	c.changed.Store(time.Now().UnixNano())
}

func (c *soleConn) NewSubConn(_ []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	return &soleSubConn{cc: c, told: opts.StateListener}, nil
}

func (c *soleConn) later(news func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = append(c.news, news)
}

// deliver tells the policy what has happened, until nothing more happens.
func (c *soleConn) deliver() {
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

// busy tells whether the picker may not be the last one.
func (c *soleConn) busy() bool {
	return c.state.Load().ConnectivityState != connectivity.Ready || time.Since(time.Unix(0, c.changed.Load())) < 60*time.Millisecond
}

type soleSubConn struct {
	balancer.SubConn
	cc   *soleConn
	told func(balancer.SubConnState)
}

func (s *soleSubConn) Connect() {
	s.cc.later(func() { s.told(balancer.SubConnState{ConnectivityState: connectivity.Connecting}) })
	s.cc.later(func() { s.told(balancer.SubConnState{ConnectivityState: connectivity.Ready}) })
}

func (s *soleSubConn) Shutdown() {}

func (s *soleSubConn) RegisterHealthListener(told func(balancer.SubConnState)) {
	s.cc.later(func() { told(balancer.SubConnState{ConnectivityState: connectivity.Ready}) })
}

type noMetrics struct {
	stats.UnimplementedMetricsRecorder
}
