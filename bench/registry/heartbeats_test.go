//go:build linux

package registry

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	shortTTL = 5 * time.Second // the least that all contenders take
	idleFor  = time.Second     // of an etcd that nobody uses yet
	settleIn = 1500 * time.Millisecond
	beating  = 6 * time.Second // three heartbeats of etcd's client, which looks each half second whose third of a TTL is over
)

// fleet is so many programs of so many registrations each, of one contender, on an etcd of its own.
type fleet struct {
	contender     string
	clients, each int

	dir            string // etcd's
	etcd           *store
	program        *process
	idle           float64 // CPU of the etcd that nobody uses, as a share of a processor
	before, after  reading
	streams, lease float64 // that etcd had open, and kept, before anybody came
}

// reading is what a fleet and its etcd have done so far.
type reading struct {
	account
	etcd, program time.Duration
}

// BenchmarkHeartbeats measures what registrations cost that are just there, at a TTL of 5 s: the requests that etcd receives, the streams
// and leases that it has, and the CPU of etcd and of the program, all in a second. With "one-process" it is one program with N registrations,
// with "processes" N programs with one each: registries with clients of their own, in one process, which start at moments of their own, as
// those of a fleet do: a burst of heartbeats wakes etcd once, and each that comes by itself does. Requests are in proportion to 1/TTL,
// but for rollcall's probes, which come every 3 s from whoever watches.
//
// The fleets of a group run at the same time, each with an etcd of its own: a second would otherwise cost the more the less it shows. What
// the CPU is of is told by the process, so that they share the processors and not the account.
//
// raw is a lease each and clientv3.KeepAlive, which is also what users of etcd's naming package write; go-zero has besides a watch
// for each.
func BenchmarkHeartbeats(b *testing.B) {
	peers := []string{"rollcall", "raw", "gozero", "kratos"}
	if testing.Short() {
		heartbeats(b, fleets(peers[:2], []int{1, 100}, []int{10}))
		return
	}
	heartbeats(b, fleets(peers, []int{1, 100, 1000}, []int{10, 100, 1000}))
	if !long {
		peers = peers[:2]
	}
	heartbeats(b, fleets(peers, []int{10_000}, nil))
}

// fleets are those of all contenders, of one program and of one registration each.
func fleets(names []string, one, many []int) (all []*fleet) {
	for _, n := range one {
		for _, name := range names {
			all = append(all, &fleet{contender: name, clients: 1, each: n})
		}
	}
	for _, n := range many {
		for _, name := range names {
			if name != "gozero" {
				all = append(all, &fleet{contender: name, clients: n, each: 1})
			}
		}
	}
	return all
}

func heartbeats(b *testing.B, all []*fleet) {
	b.Helper()
	for _, f := range all {
		f.dir = b.TempDir()
	}
	defer func() {
		for _, f := range all {
			f.end()
		}
	}()
	if err := measureFleets(all); err != nil {
		b.Fatal(err)
	}
	idle := median(all, func(f *fleet) float64 { return f.idle }) // of the same program, which did nothing
	for len(all) > 0 {
		name := all[0].name()
		same := all[:len(all):len(all)]
		if n := slices.IndexFunc(all, func(f *fleet) bool { return f.name() != name }); n >= 0 {
			same = all[:n]
		}
		b.Run(name, func(b *testing.B) {
			for _, f := range same {
				f.report(b, idle)
			}
			b.ReportMetric(0, "ns/op")
		})
		for _, f := range same {
			f.end()
		}
		all = all[len(same):]
	}
}

func (f *fleet) name() string {
	if f.each == 1 && f.clients > 1 {
		return fmt.Sprintf("N=%d/processes", f.clients)
	}
	return fmt.Sprintf("N=%d/one-process", f.each)
}

// measureFleets brings all of them up, lets them be, and reads what they did meanwhile.
func measureFleets(all []*fleet) error {
	steps := []func(*fleet) error{(*fleet).launch, (*fleet).rest, (*fleet).register, (*fleet).begin, (*fleet).finish}
	waits := []time.Duration{0, 0, settleIn, beating, 0}
	if testing.Short() {
		waits[3] = beating * 2 / 3
	}
	for n, step := range steps {
		atOnce := len(all)
		if n == 0 {
			atOnce = 4
		}
		if err := each(len(all), atOnce, func(i int) error { return step(all[i]) }); err != nil {
			return err
		}
		<-time.After(waits[n])
	}
	return nil
}

func (f *fleet) launch() (err error) {
	if f.etcd, err = launchStore(f.dir); err == nil {
		f.program, err = launch(contenderEnv + "=" + f.contender)
	}
	return err
}

func (f *fleet) end() {
	if f.program != nil {
		f.program.end()
	}
	if f.etcd != nil {
		f.etcd.end()
	}
	f.program, f.etcd = nil, nil
}

// rest measures what an etcd costs that nobody uses.
func (f *fleet) rest() error {
	at, err := accountOf(f.etcd.endpoint)
	began := time.Now()
	before, err1 := cpuOf(f.etcd.pid())
	<-time.After(idleFor)
	after, err2 := cpuOf(f.etcd.pid())
	f.idle = float64(after-before) / float64(time.Since(began))
	f.streams, f.lease = at.streams, at.leases
	return errors.Join(err, err1, err2)
}

func (f *fleet) register() error {
	hold := job{Do: "hold", Endpoint: f.etcd.endpoint, Clients: f.clients, Each: f.each, TTL: shortTTL}
	if f.clients > 1 {
		hold.Over = shortTTL * 2 / 5 // the time between two heartbeats of etcd's client
	}
	_, err := f.program.ask(hold)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", f.contender, f.name(), err)
	}
	return nil
}

// begin and finish read outside what they measure: to tell its account costs etcd milliseconds.
func (f *fleet) begin() (err error) {
	if f.before.account, err = accountOf(f.etcd.endpoint); err == nil {
		err = f.before.read(f)
	}
	return err
}

func (f *fleet) finish() error {
	if err := f.after.read(f); err != nil {
		return err
	}
	at, err := accountOf(f.etcd.endpoint)
	f.after.received, f.after.streams, f.after.leases = at.received, at.streams, at.leases
	return err
}

func (r *reading) read(f *fleet) (err error) {
	r.at = time.Now()
	if r.etcd, err = cpuOf(f.etcd.pid()); err == nil {
		r.program, err = cpuOf(f.program.pid())
	}
	return err
}

func (f *fleet) report(b *testing.B, idle float64) {
	took := f.after.at.Sub(f.before.at)
	report := func(value float64, unit string) { b.ReportMetric(value, f.contender+"-"+unit) }
	report((f.after.received-f.before.received)/took.Seconds(), "requests/s")
	report(f.after.streams-f.streams, "streams")
	report(f.after.leases-f.lease, "leases")
	used := f.after.etcd - f.before.etcd - time.Duration(idle*float64(took))
	report(max(0, micros(used)/took.Seconds()), "etcd-cpu-µs/s")
	report(micros(f.after.program-f.before.program)/took.Seconds(), "cpu-µs/s")
}
