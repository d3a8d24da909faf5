package chaos

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/rolling"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// roll is a rolling restart, and what must come of it.
type roll struct {
	name     string
	about    string // what is done, for people
	mode     rolling.Mode
	trouble  rolling.Trouble
	stop     string        // how the servers leave; "" as rollcallgrpc has them leave
	late     time.Duration // for the callers, of what etcd says
	xds      bool          // a rollcall server runs, and callers in other languages find the servers by it
	callers  []string      // each a program and its arguments
	restarts int           // as part of make test
	calls    int           // as part of make test
	control  bool          // calls of each caller must fail, and be seen to
}

// Of a roll that is played at full size, unless it is a control.
const (
	allRestarts = 20
	allCalls    = 50_000
)

// rolls are all of them.
var rolls = []roll{
	{
		name: "rolling-plain", about: "each server is replaced by one on a new port",
		callers: []string{"caller"}, restarts: allRestarts, calls: allCalls,
	},
	{
		name: "rolling-leader-killed", about: "the same; in the middle etcd's leader is killed as a server is told to end, and started again after that",
		trouble: rolling.LeaderKilled, callers: []string{"caller", "rawcaller"}, restarts: 4, calls: 2000,
	},
	{
		name: "rolling-etcd-down", about: "all of etcd is killed for good, then each server ends and is started again on its port",
		mode: rolling.SamePort, trouble: rolling.EtcdDown, callers: []string{"caller"}, restarts: 4, calls: 2000,
	},
	{
		name: "rolling-round-robin", about: "each server is replaced by one on a new port, and callers use gRPC's own policy",
		callers: []string{"caller -policy round_robin"}, restarts: 4, calls: 2000,
	},
	{
		name: "rolling-same-port", about: "each server ends and is started again on its port",
		mode: rolling.SamePort, callers: []string{"caller"}, restarts: 4, calls: 2000,
	},
	{
		name: "rolling-raw", about: "each server is replaced by one on a new port, and callers make no call twice",
		callers: []string{"rawcaller"}, restarts: 3, calls: 2000,
	},
	{
		name: "rolling-raw-late", about: "the same, and callers hear from etcd 300 ms late, each way",
		late: 300 * time.Millisecond, callers: []string{"rawcaller"}, restarts: 3, calls: 2000,
	},
	{
		name: "rolling-xds", about: "each server is replaced by one on a new port, and callers in Python and Node find them by xDS, beside one in Go",
		xds: true, callers: []string{"call.py -callers 16 -rate 200", "call.js -callers 16 -rate 200", "caller -callers 16 -rate 200"}, restarts: 3, calls: 2000,
	},
	{
		name: "rolling-xds-python", about: "the same, and all callers are in Python",
		xds: true, callers: []string{"call.py"}, restarts: 2, calls: 2000,
	},
	{
		name: "rolling-xds-node", about: "the same, and all callers are in Node",
		xds: true, callers: []string{"call.js"}, restarts: 2, calls: 2000,
	},
	{
		name: "rolling-xds-same-port", about: "each server ends and is started again on its port, and callers in Python and Node find them by xDS",
		mode: rolling.SamePort, xds: true, callers: []string{"call.py -callers 24 -rate 300", "call.js -callers 24 -rate 300"}, restarts: 2, calls: 2000,
	},
	{
		name: "control-stop-at-once", about: "servers stop at once, and then deregister",
		stop: "at-once", callers: []string{"caller"}, restarts: 2, control: true,
	},
	{
		name: "control-deregister-at-once", about: "servers deregister, and then stop at once",
		stop: "deregister-at-once", callers: []string{"caller"}, restarts: 2, control: true,
	},
	{
		name: "control-graceful-first", about: "servers stop gracefully, and then deregister, and callers make no call twice",
		stop: "graceful-first", callers: []string{"rawcaller"}, restarts: 2, control: true,
	},
	{
		name: "control-xds-at-once", about: "servers stop at once, and then deregister, and callers in Python and Node find them by xDS",
		stop: "at-once", xds: true, callers: []string{"call.py -callers 16 -rate 200", "call.js -callers 16 -rate 200"}, restarts: 2, control: true,
	},
}

func TestRollingRestartsFailNoCallAndTheirControlsDo(t *testing.T) {
	enter(t, true) // how late calls are says nothing on a machine that has other things to do
	shared := etcd(t)
	for _, r := range rolls {
		t.Run(r.name, func(t *testing.T) {
			o := r.judged(t, shared)
			book.addRoll(o)
			t.Logf("%v; took %v", o.verdict, o.took.Round(100*time.Millisecond))
			if o.wrong() {
				t.Errorf("the journals are in %s\n%s", o.dir, o.verdict.Report())
			} else if !*keepFlag {
				_ = os.RemoveAll(o.dir)
			}
		})
	}
}

// rollOutcome is what became of a rolling restart.
type rollOutcome struct {
	roll
	dir     string
	took    time.Duration
	verdict rolling.Verdict
}

// wrong tells whether something else came of it than must.
func (o rollOutcome) wrong() bool {
	if o.control {
		return len(o.verdict.By) == 0 || slices.ContainsFunc(slices.Collect(maps.Values(o.verdict.By)), func(c rolling.Tally) bool { return c.Failed == 0 })
	}
	return len(o.verdict.Faults) > 0
}

// heard is half of the time in which callers must have heard that a server drains. A machine that stands still for so long
// at once may have kept them from it, and is the only one to blame for what followed.
const heard = 125 * time.Millisecond

// judged plays it, and again, twice at most, if the machine did not keep up.
func (r roll) judged(t *testing.T, shared *cluster.Cluster) rollOutcome {
	t.Helper()
	for try := 1; ; try++ {
		o := r.play(t, shared, try)
		if !o.wrong() || o.verdict.Longest < heard || try == 3 {
			return o
		}
		t.Logf("this is no verdict, as the machine stood still for %v at once: %v\n%s", o.verdict.Longest, o.verdict, o.verdict.Report())
	}
}

// play plays it, on a cluster of its own if etcd is to be hurt.
func (r roll) play(t *testing.T, shared *cluster.Cluster, try int) rollOutcome {
	t.Helper()
	p := r.plan(t) // first, as a machine without its programs leaves it out
	o := rollOutcome{roll: r, dir: runFolder(t, r.name)}
	p.Dir, p.Cluster, p.Service = o.dir, shared, fmt.Sprintf("%s-%d", r.name, try)
	if r.trouble != rolling.NoTrouble {
		p.Cluster = etcd(t)
		defer p.Cluster.KillAll()
	}
	began := time.Now()
	o.verdict = rolling.Play(t, p)
	o.took = time.Since(began)
	return o
}

// etcd starts a cluster, which ends with t.
func etcd(t *testing.T) *cluster.Cluster {
	t.Helper()
	server, err := programs.Current()
	if err != nil {
		t.Fatal(err)
	}
	data, err := world.TempDir("data")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	return cluster.Start(t, data, cluster.Options{Programs: server})
}

// plan is what is to be played, at the size that was asked for.
func (r roll) plan(t *testing.T) rolling.Plan {
	t.Helper()
	p := rolling.Plan{
		Server: program(t, "server"), Stop: r.stop, Mode: r.mode, Trouble: r.trouble, Late: r.late,
		Restarts: r.restarts, Calls: r.calls,
	}
	for _, c := range r.callers {
		words := strings.Fields(c)
		p.Callers = append(p.Callers, callerOf(t, words[0], words[1:]...))
	}
	if r.xds {
		p.Xds = built(t)(programs.Rollcall())
	}
	if *allFlag {
		p.Restarts = allRestarts
		if !r.control {
			p.Calls = allCalls
		}
	}
	return p
}

func program(t *testing.T, name string) string {
	t.Helper()
	return built(t)(programs.Rolling(name))
}

// built wants a program to have been built.
func built(t *testing.T) func(path string, err error) string {
	t.Helper()
	return func(path string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// Whoever reads of a variant must be able to play it, and the other way round.
func TestDocumentedRollingRestartsAreThoseOfTheSuite(t *testing.T) {
	rows := tableRows(t, suitePage, "| variant | what is done | restarts and calls in `make test` |")
	for i, r := range rolls {
		size := fmt.Sprintf("%d, %d", r.restarts, r.calls)
		if r.control {
			size = fmt.Sprint(r.restarts)
		}
		want := fmt.Sprintf("`%s` | %s | %s", r.name, r.about, size)
		if i >= len(rows) || strings.Join(rows[i], " | ") != want {
			t.Errorf("%s does not have, as row %d: %s", suitePage, i+1, want)
		}
	}
	if len(rows) > len(rolls) {
		t.Errorf("%s has rows for what is not played: %q", suitePage, rows[len(rolls):])
	}
}
