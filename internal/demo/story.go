package demo

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall"
)

// MinFor is the least [Config.For]: less does not hold the expiry of a killed server, which waits for its TTL.
const MinFor = 10 * time.Second

// StopAtOnce is the sabotage in which the server that should be drained just stops.
const StopAtOnce = "stop-at-once"

// The cast, by the ids of the instances.
const (
	killedServer  = "greeter-1"
	drainedServer = "greeter-2"
	quietServer   = "greeter-3"
	firstJoiner   = "greeter-4"
	secondJoiner  = "greeter-5"
)

var (
	firstServers = []string{killedServer, drainedServer, quietServer}
	joiners      = []string{firstJoiner, secondJoiner}
)

type action int

const (
	kill action = iota + 1
	join
	drain
)

// step is something done to a server.
type step struct {
	at     time.Duration // since the first call
	do     action
	server string
}

// story is what is done when, in order of time.
type story struct {
	steps []step
	end   time.Duration // of the calls
}

// story spreads the steps over the time there is. After the kill there is time enough for the key to expire.
func (c Config) story() (story, error) {
	end := c.For
	if end < MinFor {
		return story{}, &rollcall.InvalidError{
			Field: "--for", Value: end.String(),
			Rule: fmt.Sprintf("the demo takes at least %v: a killed server is gone only after its TTL of %v", MinFor, ttl),
		}
	}
	if c.Sabotage != "" && c.Sabotage != StopAtOnce {
		return story{}, &rollcall.InvalidError{Field: "--sabotage", Value: fmt.Sprintf("%q", c.Sabotage), Rule: "the only sabotage is " + StopAtOnce}
	}
	percent := func(n int) time.Duration { return end * time.Duration(n) / 100 }
	return story{end: end, steps: []step{
		{percent(15), kill, killedServer},
		{percent(40), join, firstJoiner},
		{percent(45), join, secondJoiner},
		{percent(65), drain, drainedServer},
	}}, nil
}
