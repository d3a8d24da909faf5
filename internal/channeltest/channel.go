// Package channeltest is for tests and benchmarks of load-balancing policies by themselves: what gRPC's channel is to a policy, without a
// network. Its connections are READY as soon as they are told to connect.
package channeltest

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
)

// channel is what a policy is given as its channel.
type channel struct {
	balancer.ClientConn
	state   atomic.Pointer[balancer.State]
	pickers atomic.Int64
	changed atomic.Int64  // when there was one last, since 1970
	another chan struct{} // has room for one: there is another picker

	mu   sync.Mutex
	news []func() // for the policy, which must be back from calling us before it hears them
}

func (c *channel) MetricsRecorder() stats.MetricsRecorder               { return noMetrics{} }
func (c *channel) Target() string                                       { return "rollcall:///svc" }
func (c *channel) ResolveNow(resolver.ResolveNowOptions)                {}
func (c *channel) UpdateAddresses(balancer.SubConn, []resolver.Address) {}
func (c *channel) RemoveSubConn(balancer.SubConn)                       {}

func (c *channel) NewSubConn(_ []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	return &subConn{channel: c, told: opts.StateListener}, nil
}

func (c *channel) UpdateState(s balancer.State) {
	c.state.Store(&s)
	c.changed.Store(time.Now().UnixNano())
	c.pickers.Add(1)
	select {
	case c.another <- struct{}{}:
	default:
	}
}

func (c *channel) later(news func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = append(c.news, news)
}

// deliver tells the policy what has happened, until nothing more happens.
func (c *channel) deliver() {
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

// ready reports whether there were more pickers than so many, and the last one can pick.
func (c *channel) ready(pickers int64) bool {
	last := c.state.Load()
	return last != nil && last.ConnectivityState == connectivity.Ready && c.pickers.Load() > pickers
}

// subConn is a connection that stands as soon as it is wanted.
type subConn struct {
	balancer.SubConn
	channel *channel
	told    func(balancer.SubConnState)
}

func (s *subConn) Connect() {
	s.channel.later(func() { s.told(balancer.SubConnState{ConnectivityState: connectivity.Connecting}) })
	s.channel.later(func() { s.told(balancer.SubConnState{ConnectivityState: connectivity.Ready}) })
}

func (s *subConn) Shutdown() {}

func (s *subConn) RegisterHealthListener(told func(balancer.SubConnState)) {
	s.channel.later(func() { told(balancer.SubConnState{ConnectivityState: connectivity.Ready}) })
}

func (s *subConn) GetOrBuildProducer(balancer.ProducerBuilder) (balancer.Producer, func()) {
	return nil, func() {}
}

type noMetrics struct {
	stats.UnimplementedMetricsRecorder
}
