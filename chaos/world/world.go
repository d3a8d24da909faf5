// Package world is where a scenario of the chaos suite takes place: a real etcd cluster, processes that register and
// watch, the faults that the scenario makes, and the judge who records what etcd held. When the run is over the record is
// judged offline.
package world

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/failpoints"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/judge"
	"github.com/rollcall-io/rollcall/chaos/netns"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

// Service is what the instances of a run register as unless the scenario says otherwise.
const Service = "s"

// World is one run of a scenario. Its methods are for the goroutine of the test.
type World struct {
	T       testing.TB
	Cluster *cluster.Cluster
	Judge   *judge.Recorder
	Rand    *rand.Rand // seeded: everything that the scenario leaves to chance
	Seed    int64
	Net     *netns.Net // where the members run on hosts of their own; else nil
	Dir     string     // of the journals and logs
	Env     []string   // what the processes find in their environment besides this one's
	Subject string     // the program that uses rollcall
	Expect  journal.Expect

	// Endpoints is where the processes that are started next find etcd; at first, every member of the cluster.
	Endpoints []string
	// Command makes the commands of the processes that are started next; nil means [exec.Command].
	Command func(name string, args ...string) *exec.Cmd

	failpoints []string
	login      [2]string
	rollcall   string
	historian  *historian // nil: nobody keeps a history
	asker      *asker     // nil: nobody asks for names
	nemesis    *journal.Writer
	files      []*os.File
	processes  []*Process
}

// Config is what a world is made of.
type Config struct {
	Dir        string // for journals and logs; must exist
	Subject    string // the program that uses rollcall
	Rollcall   string // the program rollcall, where a server of it answers DNS
	Env        []string
	Expect     journal.Expect // with the scenario's name and seed
	Cluster    cluster.Options
	Judge      []judge.Option
	Failpoints []string   // where each member is told what is to fail; nil for an etcd without failpoints
	Net        *netns.Net // that the cluster's hosts are in; nil for the loopback address
	History    bool       // somebody keeps rollcall's history of the run, for the judge to compare with his record
	Login      [2]string  // the name and password of a user who may read everything, where etcd wants one
}

// New starts a cluster and its judge. Everything ends with t.
func New(t testing.TB, cfg Config) *World {
	t.Helper()
	w := &World{
		T: t, Dir: cfg.Dir, Env: cfg.Env, Subject: cfg.Subject, rollcall: cfg.Rollcall, Expect: cfg.Expect, Seed: cfg.Expect.Seed, Net: cfg.Net, failpoints: cfg.Failpoints,
		Rand: rand.New(rand.NewPCG(uint64(cfg.Expect.Seed), 1)),
	}
	data, err := TempDir("data") // not below Dir: what etcd stored is of no use afterwards
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	w.Expect.Most = map[string]float64{Unregistered: 0, Unviewed: 0}
	maps.Copy(w.Expect.Most, cfg.Expect.Most)
	w.nemesis = w.journal("nemesis")
	w.nemesis.Tell(journal.Event{What: journal.Expecting, Expect: &w.Expect})
	w.Cluster = cluster.Start(t, data, cfg.Cluster)
	w.Endpoints = w.Cluster.Endpoints()
	w.Judge = judge.Record(w.Cluster.Endpoints(), w.journal("judge"), cfg.Judge...)
	w.login = cfg.Login
	t.Cleanup(w.end)
	if cfg.History {
		w.historian = w.keepHistory("history")
	}
	return w
}

// journal opens a journal of the run's own.
func (w *World) journal(by string) *journal.Writer {
	f, err := os.Create(filepath.Join(w.Dir, by+".jsonl"))
	if err != nil {
		w.T.Fatal(err)
	}
	w.files = append(w.files, f)
	return journal.NewWriter(f, by)
}

// end is what happens to a run that was cut short, too.
func (w *World) end() {
	w.historian.end()
	w.asker.end()
	for _, p := range w.processes {
		if p.Runs() {
			p.expectEnd()
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
	w.Judge.Close()
	for _, f := range w.files {
		_ = f.Close()
	}
	if w.T.Failed() {
		w.keepLogs()
	}
}

// keepLogs copies the members' logs to where the journals are.
func (w *World) keepLogs() {
	for _, m := range w.Cluster.Members() {
		if data, err := os.ReadFile(m.Log()); err == nil {
			_ = os.WriteFile(filepath.Join(w.Dir, m.Name+".log"), data, 0o600)
		}
	}
}

func (w *World) command(program string, args ...string) *exec.Cmd {
	if w.Command != nil {
		return w.Command(program, args...)
	}
	return exec.Command(program, args...)
}

// Register starts a process with instances; args are further flags of the subject program.
func (w *World) Register(name string, args ...string) *Process {
	w.T.Helper()
	return w.Start(name, w.Subject, append([]string{
		"register", "-name", name, "-endpoints", strings.Join(w.Endpoints, ","),
		"-service", Service, "-id", name, "-ttl", w.Expect.TTL.String(),
	}, args...)...)
}

// Instances starts n processes of one instance each, and waits until all are registered.
func (w *World) Instances(n int, args ...string) []*Process {
	w.T.Helper()
	var all []*Process
	for i := range n {
		all = append(all, w.Register(fmt.Sprintf("i%d", i), args...))
	}
	w.Await("everybody is registered", time.Minute, func() bool {
		for _, p := range all {
			if p.Seen(journal.Registered) == 0 {
				return false
			}
		}
		return true
	})
	return all
}

// Watch starts a process that follows the service; args are further flags of the subject program.
func (w *World) Watch(name string, args ...string) *Process {
	w.T.Helper()
	return w.Start(name, w.Subject, append([]string{
		"watch", "-name", name, "-endpoints", strings.Join(w.Endpoints, ","), "-service", Service,
	}, args...)...)
}

// Watchers starts n processes that follow the service, and waits until each shows everybody.
func (w *World) Watchers(n, instances int, args ...string) []*Process {
	w.T.Helper()
	var all []*Process
	for i := range n {
		all = append(all, w.Watch(fmt.Sprintf("w%d", i), args...))
	}
	w.AwaitShown(all, instances)
	return all
}

// Proxied puts a network that can fail between etcd and the processes that are started from now on, and returns it, one
// proxy for each member.
func (w *World) Proxied() []*faultproxy.Proxy {
	w.T.Helper()
	var all []*faultproxy.Proxy
	w.Endpoints = nil
	for _, m := range w.Cluster.Members() {
		p := faultproxy.Start(w.T, m.Endpoint())
		all = append(all, p)
		w.Endpoints = append(w.Endpoints, p.Addr())
	}
	return all
}

// AwaitShown waits until every one of the watchers shows so many instances.
func (w *World) AwaitShown(watchers []*Process, instances int) {
	w.T.Helper()
	w.Await(fmt.Sprintf("every view shows %d instances", instances), time.Minute, func() bool { return show(watchers, instances) })
}

// AttendShown is AwaitShown where nothing is lost if they do not.
func (w *World) AttendShown(watchers []*Process, instances int, d time.Duration) bool {
	return w.Attend(d, func() bool { return show(watchers, instances) })
}

func show(watchers []*Process, instances int) bool {
	return !slices.ContainsFunc(watchers, func(p *Process) bool { return !p.Shows(instances) })
}

// Await waits for what must come for the scenario to go on; without it the run says nothing.
func (w *World) Await(what string, d time.Duration, cond func() bool) {
	w.T.Helper()
	if !w.Attend(d, cond) {
		w.keepLogs()
		w.T.Fatalf("waited %v in vain until %s%s\nthe journals and logs are in %s", d, what, w.complaints(), w.Dir)
	}
}

// complaints are the errors with which calls of the processes failed that have not succeeded since.
func (w *World) complaints() string {
	var said strings.Builder
	for _, p := range w.processes {
		if e := p.Last(journal.Registered); e.Err != "" {
			fmt.Fprintf(&said, "\n  %s: %s", p.Name, e.Err)
		}
	}
	return said.String()
}

// Attend waits for what should come, and tells whether it has. Whether it had to is for the judge to say.
func (w *World) Attend(d time.Duration, cond func() bool) bool {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if cond() {
			return true
		}
	}
	return cond()
}

// Last lets a fault, or its absence, last.
func (w *World) Last(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.T.Context().Done():
		w.T.Fatal("the test ended meanwhile")
	}
}

// Between is a duration that chance chooses.
func (w *World) Between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.Rand.Int64N(int64(most-least)))
}

// Etcd is the target of a fault of the whole cluster, for which no instance can be blamed.
const Etcd = "etcd"

// Fail has a member come to a failpoint, with what is to happen there, from now on.
func (w *World) Fail(m *cluster.Member, point, term string) {
	w.T.Helper()
	if err := failpoints.Set(w.T.Context(), w.failpoints[m.Index()], point, term); err != nil {
		w.T.Fatal(err)
	}
}

// Relieve ends what Fail began.
func (w *World) Relieve(m *cluster.Member, point string) {
	w.T.Helper()
	if err := failpoints.Clear(w.T.Context(), w.failpoints[m.Index()], point); err != nil {
		w.T.Fatal(err)
	}
}

// Fault tells the journal that a fault begins.
func (w *World) Fault(name, target string) {
	w.nemesis.Tell(journal.Event{What: journal.Fault, Name: name, Target: target})
}

// Returning tells the journal that a fault is being taken back: it may be over before [World.Healed] says that it is.
func (w *World) Returning(name, target string) {
	w.nemesis.Tell(journal.Event{What: journal.Returning, Name: name, Target: target})
}

// Healed tells the journal that a fault is over.
func (w *World) Healed(name, target string) {
	w.nemesis.Tell(journal.Event{What: journal.Healed, Name: name, Target: target})
}

// Lost tells the journal that a process can do nothing about its instances from now on.
func (w *World) Lost(p *Process) {
	w.nemesis.Tell(journal.Event{What: journal.Unreachable, Target: p.Name})
}

// Found tells the journal that a process can reach etcd again.
func (w *World) Found(p *Process) {
	w.nemesis.Tell(journal.Event{What: journal.Reachable, Target: p.Name})
}

// Meddled tells the journal that the run itself is about to delete or overwrite the key of an instance, or to end its lease.
func (w *World) Meddled(id string) {
	w.nemesis.Tell(journal.Event{What: journal.Meddled, Service: Service, ID: id})
}

// Measured tells the journal a figure, which the run's expectations may bound.
func (w *World) Measured(name string, value float64) {
	w.nemesis.Tell(journal.Event{What: journal.Load, Name: name, Value: value})
}

// Finish ends the run: it lets the views converge, ends every process and has the record judged. The watchers are those
// that should show so many instances in the end.
func (w *World) Finish(watchers []*Process, instances int) ([]judge.Violation, []journal.Event) {
	w.T.Helper()
	w.nemesis.Tell(journal.Event{What: journal.Quiet})
	w.AttendShown(watchers, instances, w.Expect.Converge)
	w.Attend(w.Expect.Converge, w.asker.current)
	w.Last(500 * time.Millisecond) // what is wrong now may have been right a moment ago only
	w.Measured(Unregistered, w.unregistered())
	w.Measured(Unviewed, w.unviewed(watchers))
	w.sync()
	w.recount()
	w.stopAsking()
	w.nemesis.Tell(journal.Event{What: journal.Done})
	for _, p := range w.processes {
		if p.Runs() {
			p.Terminate()
		}
	}
	for _, p := range w.processes {
		p.Wait(30 * time.Second)
	}
	w.sync()
	ctx, cancel := context.WithTimeout(w.T.Context(), 20*time.Second)
	defer cancel()
	if err := w.Judge.Leases(ctx); err != nil {
		w.T.Fatalf("count the leases that are left: %v", err)
	}
	w.Judge.Close()
	events, err := journal.Read(w.Dir)
	if err != nil {
		w.T.Fatal(err)
	}
	return judge.Check(events), events
}

// Unregistered is a figure of every run: none may be left that wants to register and cannot.
const Unregistered = "instances that could not register"

func (w *World) unregistered() float64 {
	n := 0
	for _, p := range w.processes {
		if p.Runs() {
			n += p.unanswered()
		}
	}
	return float64(n)
}

// Unviewed is another: the judge knows only those watchers that have told a view.
const Unviewed = "watchers that never had a view"

func (w *World) unviewed(watchers []*Process) float64 {
	n := 0
	for _, p := range watchers {
		if p.Last(journal.Viewed).What == "" {
			n++
		}
	}
	return float64(n)
}

// Abandon ends a run that nobody judges: every process is killed, and what was recorded is returned.
func (w *World) Abandon() []journal.Event {
	w.T.Helper()
	w.sync()
	w.nemesis.Tell(journal.Event{What: journal.Done})
	for _, p := range w.processes {
		if p.Runs() {
			p.Kill()
		}
	}
	w.Judge.Close()
	events, err := journal.Read(w.Dir)
	if err != nil {
		w.T.Fatal(err)
	}
	return events
}

// Process returns the process of a name, which must have been started.
func (w *World) Process(name string) *Process {
	for _, p := range w.processes {
		if p.Name == name {
			return p
		}
	}
	w.T.Fatalf("there is no process %s", name)
	return nil
}

// Compact has etcd forget its history, once the judge has it all.
func (w *World) Compact() {
	w.T.Helper()
	w.sync()
	w.Cluster.Compact()
}

// TryCompact is Compact where the member that is asked may die of it.
func (w *World) TryCompact() {
	w.T.Helper()
	w.sync()
	if _, err := w.Cluster.TryCompact(); err != nil {
		w.T.Logf("compact: %v", err)
	}
}

// sync waits until the judge has all that etcd has.
func (w *World) sync() {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	if _, err := w.Judge.Sync(ctx); err != nil {
		w.keepLogs()
		w.T.Fatalf("complete the record: %v", err)
	}
}

// Report is the verdict as text.
func (w *World) Report(violations []judge.Violation) string {
	var text bytes.Buffer
	judge.Report(&text, w.Expect.Scenario, w.Seed, violations)
	return text.String()
}
