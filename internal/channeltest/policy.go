package channeltest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/rollcall-io/rollcall"
)

// patience is how long a picker is waited for.
const patience = time.Minute

// still is how long no picker comes after the last one. Policies gather changes for less.
const still = 60 * time.Millisecond

// Policy is a load-balancing policy at work. It is for one goroutine.
type Policy struct {
	balancer balancer.Balancer
	config   serviceconfig.LoadBalancingConfig
	channel  *channel
}

// Start builds the policy of a name, with its configuration in JSON, until the end of the test.
func Start(tb testing.TB, name, config string) *Policy {
	tb.Helper()
	builder := balancer.Get(name)
	p := &Policy{channel: &channel{another: make(chan struct{}, 1)}}
	if parser, is := builder.(balancer.ConfigParser); is {
		var err error
		if p.config, err = parser.ParseConfig(json.RawMessage(config)); err != nil {
			tb.Fatal(err)
		}
	}
	p.balancer = builder.Build(p.channel, balancer.BuildOptions{})
	tb.Cleanup(p.balancer.Close)
	return p
}

// Show shows the policy a state, and waits for a picker that comes of it.
func (p *Policy) Show(tb testing.TB, s resolver.State) {
	pickers := p.channel.pickers.Load()
	if err := p.balancer.UpdateClientConnState(balancer.ClientConnState{ResolverState: s, BalancerConfig: p.config}); err != nil {
		tb.Fatal(err)
	}
	p.channel.deliver()
	late := time.After(patience)
	for !p.channel.ready(pickers) {
		select { // not by asking again and again, which would cost more than what is measured
		case <-p.channel.another:
		case <-late:
			tb.Fatal("there is no other picker")
		}
	}
}

// Settle waits until the picker is the last that comes of what was shown.
func (p *Policy) Settle(tb testing.TB) {
	tb.Helper()
	late := time.After(patience)
	for {
		rest := still - time.Since(time.Unix(0, p.channel.changed.Load()))
		if rest <= 0 {
			return
		}
		select {
		case <-time.After(rest):
		case <-late:
			tb.Fatal("there is no picker that stays")
		}
	}
}

// Picker returns the newest.
func (p *Policy) Picker() balancer.Picker { return p.channel.state.Load().Picker }

// Instances returns n instances as the updates that add them. Vary, if there is one, is called for each before.
func Instances(n int, vary func(int, *rollcall.Instance)) []rollcall.Update {
	updates := make([]rollcall.Update, 0, n)
	for k := range n {
		addr := fmt.Sprintf("10.0.%03d.%03d:50051", k>>8, k&255) // sorted as they are made
		i := &rollcall.Instance{ID: addr, Addr: addr, State: rollcall.StateServing, Weight: rollcall.DefaultWeight}
		if vary != nil {
			vary(k, i)
		}
		updates = append(updates, rollcall.Update{Op: rollcall.Add, Instance: i})
	}
	return updates
}
