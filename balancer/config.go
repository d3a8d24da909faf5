package balancer

import "github.com/rollcall-io/rollcall"

// Config configures the policy: see [rollcall.Balancing], under which name operators know it.
type Config = rollcall.Balancing

// The parts of a Config.
type (
	Pick     = rollcall.Pick
	Subset   = rollcall.Subset
	Ejection = rollcall.Ejection
)

// How one of the instances is chosen for a call.
const (
	WeightedRoundRobin = rollcall.WeightedRoundRobin // in turn, as weights say; the default
	LeastRequest       = rollcall.LeastRequest       // of two, the one with less to do
)
