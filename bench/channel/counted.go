package channel

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	_ "github.com/rollcall-io/rollcall/balancer"
)

// ours is rollcall's policy.
const ours = "rollcall"

// countedPrefix before the name of a load-balancing policy means that policy, with its events counted.
const countedPrefix = "counted."

func init() {
	balancer.Register(bareBuilder{})
	for _, name := range []string{"bare", "round_robin"} {
		if b := balancer.Get(name); b != nil {
			balancer.Register(countedBuilder{b, countedPrefix + name})
		}
	}
}

// countUnderItsName has the events of a policy counted that a library names itself, as rollcall's resolver does.
func countUnderItsName(name string) {
	if b := balancer.Get(name); b != nil {
		balancer.Register(countedBuilder{b, name})
	}
}

// counts is what the counted policy of a channel is told, and what it says.
type counts struct {
	updates atomic.Int64  // by the resolver, completely dealt with
	ready   atomic.Int64  // connections that are READY
	dials   atomic.Int64  // connections that were begun
	pickers atomic.Int64  // that were published
	last    atomic.Int64  // when the last event was, in Unix nanoseconds
	news    chan struct{} // has room for the word that something happened
	sight   sight
}

func newCounts() *counts { return &counts{news: make(chan struct{}, 1)} }

func (c *counts) happened() {
	c.last.Store(time.Now().UnixNano())
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// until waits for events until a condition holds, and returns false if it does not in a minute.
func (c *counts) until(cond func() bool) bool {
	for late := time.After(time.Minute); !cond(); {
		select {
		case <-c.news:
		case <-late:
			return false
		}
	}
	return true
}

// counting is what the next channel with a counted policy counts in: gRPC builds policies by name, and tells them nothing.
var counting atomic.Pointer[counts]

// countedBuilder builds a policy between gRPC and which events are counted. What it is given it gives on unchanged.
type countedBuilder struct {
	balancer.Builder
	name string
}

func (c countedBuilder) Name() string { return c.name }

func (c countedBuilder) ParseConfig(js json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	if p, ok := c.Builder.(balancer.ConfigParser); ok {
		return p.ParseConfig(js)
	}
	return nil, nil
}

func (c countedBuilder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	counts := counting.Load()
	return countedBalancer{c.Builder.Build(countedConn{cc, counts}, opts), counts}
}

type countedBalancer struct {
	balancer.Balancer
	*counts
}

func (c countedBalancer) UpdateClientConnState(s balancer.ClientConnState) error {
	c.sight.listed(s.ResolverState.Endpoints)
	err := c.Balancer.UpdateClientConnState(s)
	c.updates.Add(1)
	c.happened()
	return err
}

type countedConn struct {
	balancer.ClientConn
	*counts
}

func (c countedConn) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	told, was := opts.StateListener, false // a SubConn's states come one after the other
	var conn balancer.SubConn
	opts.StateListener = func(s balancer.SubConnState) {
		is := s.ConnectivityState == connectivity.Ready
		if is && !was {
			c.sight.connected(addrs[0].Addr, conn)
		}
		told(s)
		if is && !was {
			c.ready.Add(1)
		}
		if was && !is {
			c.ready.Add(-1)
		}
		was = is
		c.happened()
	}
	c.dials.Add(1)
	c.happened()
	//lint:ignore SA1019 gRPC deprecates no more than several addresses for one connection
	made, err := c.ClientConn.NewSubConn(addrs, opts)
	conn = made // a policy's events come one after the other
	return conn, err
}

func (c countedConn) UpdateState(s balancer.State) {
	c.ClientConn.UpdateState(s)
	at := time.Now()
	c.pickers.Add(1)
	c.happened()
	c.sight.published(s, at)
}
