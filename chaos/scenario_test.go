package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/judge"
	"github.com/rollcall-io/rollcall/chaos/netns"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// scenario is one way to hurt a cluster or those who use it.
type scenario struct {
	name       string
	fault      string // what is done, for people
	without    string // the protections that it is about, as ROLLCALL_WITHOUT names them: taken out, it must fail
	quick      bool   // it is part of make test
	alone      bool   // nothing else may run beside it: it takes all of the machine
	ttl        time.Duration
	expect     journal.Expect
	cluster    cluster.Options
	judge      []judge.Option
	login      [2]string    // the name and password of who may read everything, where etcd wants one
	needs      func() error // what the machine lacks; nil: nothing beyond Linux
	older      bool         // the cluster runs the etcd release before the current one
	failpoints bool         // the members have failpoints
	names      bool         // a rollcall server answers DNS; the protections are taken out of it alone
	hosts      bool         // every member runs on a host of its own, in a network that can be parted
	// play plays it, and returns the watchers that are left and how many instances they should show in the end.
	play func(t testing.TB, w *world.World) (watchers []*world.Process, instances int)
}

// scenarios are all of them.
func scenarios() []scenario {
	var all []scenario
	for _, some := range [][]scenario{
		hangs(), outages(), stores(), pauses(), cuts(), rivalries(), meddlings(), refusals(), operations(), disks(),
		partitions(), frailties(), churns(), herds(), lookups(), soaks(),
	} {
		all = append(all, some...)
	}
	return all
}

// chosen are the scenarios that were asked for, of those that are wanted here. A name that none has is a mistake.
func chosen(t *testing.T, wanted func(scenario) bool) []scenario {
	t.Helper()
	only, err := regexp.Compile(*onlyFlag)
	if err != nil {
		t.Fatalf("-scenario: %v", err)
	}
	var some []scenario
	var names []string
	named := false
	for _, s := range scenarios() {
		names = append(names, s.name)
		if only.MatchString(s.name) {
			named = true
			if wanted(s) {
				some = append(some, s)
			}
		}
	}
	if !named {
		t.Fatalf("no scenario matches %q; there are: %s", *onlyFlag, strings.Join(names, ", "))
	}
	return some
}

// slots bounds how many clusters run at once: they are three processes each, and a machine short of processors would add
// faults of its own.
var slots = make(chan struct{}, 4)

// enter waits for a slot, or for all of them, until t ends.
func enter(t *testing.T, alone bool) {
	n := 1
	if alone {
		n = cap(slots)
	}
	for range n {
		slots <- struct{}{}
	}
	t.Cleanup(func() {
		for range n {
			<-slots
		}
	})
}

// What is promised holds in every scenario.
func TestScenarios(t *testing.T) {
	for _, s := range chosen(t, func(s scenario) bool {
		return s.quick || *allFlag && (s.name != soakName || *soakFlag > 0)
	}) {
		t.Run(s.name, func(t *testing.T) {
			if !s.alone {
				t.Parallel()
			}
			o := s.run(t, "")
			book.add(o)
			if len(o.violations) > 0 {
				t.Errorf("%s\nthe journals are in %s; judge them again with: go run ./check %s", o.report, o.dir, o.dir)
			}
		})
	}
}

// samples are the scenarios that make test, too, plays without their protection: two short ones, of an instance and of a
// watcher, to see that there is such a thing as failing.
var samples = []string{"killed-instance", "compact-while-cut"}

// Each scenario fails when the protection is taken out that it is about: it can see what it is there to see.
func TestWithout(t *testing.T) {
	for _, s := range chosen(t, func(s scenario) bool { return *allFlag || slices.Contains(samples, s.name) }) {
		t.Run(s.name, func(t *testing.T) {
			if !s.alone {
				t.Parallel()
			}
			o := s.run(t, s.without)
			book.add(o)
			t.Logf("without %s: %s", s.without, o.broken())
			if !o.noticed() {
				t.Errorf("seed %d: without %s nothing was found broken; the journals are in %s", o.seed, s.without, o.dir)
			}
		})
	}
}

// outcome is what became of a run.
type outcome struct {
	scenario
	seed       int64
	without    string
	dir        string
	took       time.Duration
	violations []judge.Violation
	report     string
	figures    figures
}

// run plays a scenario once and has it judged.
func (s scenario) run(t *testing.T, without string) outcome {
	t.Helper()
	if s.needs != nil {
		if err := s.needs(); err != nil {
			lacking(t, err)
		}
	}
	enter(t, s.alone)
	o := outcome{scenario: s, seed: seed(), without: without}
	t.Logf("seed %d", o.seed)
	o.dir = runFolder(t, fmt.Sprintf("%s-%d%s", s.name, o.seed, suffix(without)))
	cfg := s.config(t, o)
	began := time.Now()
	w := world.New(t, cfg)
	watchers, instances := s.play(t, w)
	var events []journal.Event
	o.violations, events = w.Finish(watchers, instances)
	o.took = time.Since(began)
	o.report, o.figures = w.Report(o.violations), measure(events)
	if (len(o.violations) == 0) == (without == "") && !t.Failed() && !*keepFlag {
		t.Cleanup(func() { _ = os.RemoveAll(o.dir) })
	}
	return o
}

// config is the world that a scenario takes place in.
func (s scenario) config(t *testing.T, o outcome) world.Config {
	t.Helper()
	expect := s.expect
	expect.Scenario, expect.Seed, expect.TTL = s.name, o.seed, s.ttl
	build, server, etcd := programs.Subject, programs.Rollcall, programs.Current
	switch {
	case o.without != "" && s.names:
		server = programs.RollcallMutant
	case o.without != "":
		build = programs.Mutant
	}
	if s.older {
		etcd = func() (cluster.Programs, error) { return programs.Version("v3.6") }
	}
	subject, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cfg := world.Config{
		Dir: o.dir, Subject: subject, Env: []string{"ROLLCALL_WITHOUT=" + o.without}, Expect: expect, Cluster: s.cluster, Judge: s.judge,
		History: !s.alone, Login: s.login, // beside the largest nobody else reads
	}
	if cfg.Cluster.Programs, err = etcd(); err != nil {
		t.Fatal(err)
	}
	if s.names {
		if cfg.Rollcall, err = server(); err != nil {
			t.Fatal(err)
		}
	}
	if s.hosts {
		cfg.Net = netns.New(t, 3)
		cfg.Cluster = inNet(cfg.Cluster, cfg.Net)
	}
	if s.failpoints {
		cfg.Cluster, cfg.Failpoints = frail(t, cfg.Cluster)
	}
	return cfg
}

// noticed tells whether a run has broken a promise, and not only the record of it.
func (o outcome) noticed() bool {
	return slices.ContainsFunc(o.violations, func(v judge.Violation) bool { return v.Invariant != "record" && v.Invariant != "run" })
}

func suffix(without string) string {
	if without == "" {
		return ""
	}
	return "-without-" + without
}

// runFolder makes the folder of a run, empty.
func runFolder(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(*runsFlag, name))
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lacking skips a test for something that the machine lacks, or with CI=true fails it: there nothing may be left out.
func lacking(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// lasting is a fault that is begun and, after a while, ended.
func lasting(w *world.World, name, target string, d time.Duration, begin, end func()) {
	w.Fault(name, target)
	begin()
	w.Last(d)
	end()
	w.Healed(name, target)
}
