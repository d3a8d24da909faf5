package rolling

import (
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
)

// Mode is in which order one server replaces another.
type Mode int

const (
	Replace  Mode = iota // a new one on a new port is ready before the old one is told to end
	SamePort             // the old one ends, and then a new one starts at its address
)

// Trouble is what happens to etcd meanwhile.
type Trouble int

const (
	NoTrouble    Trouble = iota
	LeaderKilled         // in the middle, as a server is told to end; it is started again after that restart
	EtcdDown             // all of etcd, from before the first restart to the end; for SamePort only, as nothing can be told
)

// Caller is how a program that calls is started. What it must do is said in the package's documentation.
type Caller struct {
	Name    string   // of its journal and its log
	Command []string // the program and its first arguments
	Env     []string // further variables of its environment
}

// Plan is a rolling restart.
type Plan struct {
	Dir      string           // for journals and logs; must exist
	Cluster  *cluster.Cluster // which runs
	Service  string           // no other run on this cluster has it
	Server   string           // the program
	Stop     string           // how the servers leave, as the server's flag -stop has it; "" for serve
	Servers  int              // 0 means 4
	Xds      string           // the program rollcall, whose server then tells callers by xDS of the servers; "" for none
	Callers  []Caller
	Late     time.Duration // how much later the callers hear from etcd than the servers, as from far away
	Restarts int           // at least; there are more until there were enough calls, up to three times as many
	Calls    int           // at least
	Mode     Mode
	Trouble  Trouble
}

const (
	// Slack is how much longer than its work a call may take.
	Slack = 500 * time.Millisecond

	// Propagation is how long after a server's goodbye a call may still reach it. What it takes is one event of a watch,
	// one window in which the resolver gathers news, and one picker, in all some milliseconds; a caller who has not heard
	// by the time that a call may be late by is as good as not told.
	Propagation = Slack
)

// expect is how the plan's run is to be judged.
func (p Plan) expect() Expect {
	e := Expect{Calls: p.Calls, Restarts: p.Restarts}
	switch p.Trouble {
	case EtcdDown:
		e.Untold = 3 * p.Restarts
	}
	return e
}
