//go:build linux

package server

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkRegistrations measures what it takes to register instances for programs that have no library, 48 at a time, and to keep them: what each
// takes of the CPU of the server and its etcd, how long it takes and how many there are in a second, what is held in memory for each, and, once
// all are there, the CPU that one costs in a second and what etcd is asked. "rollcall" registers by calls of the API and sends a heartbeat
// every five seconds, "session" holds a stream for each instance, and "raw" does what programs do on etcd alone: a lease each, a transaction, and
// the client's own keeping alive. Each has an etcd of its own, which does not sync. When they register they take turns, and rest at the same time.
func BenchmarkRegistrations(b *testing.B) {
	all := []*kept{newKept(b, "rollcall"), newKept(b, "session"), newKept(b, "raw")}
	for _, k := range all {
		k.who.ask(b, registerFirst, new(registered))
	}
	already := registerFirst
	for _, n := range upTo(100, 100, 1_000, 10_000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			compareRegistrations(b, all, n-already, n)
			b.ReportMetric(0, "ns/op")
		})
		already = n
	}
}

const (
	registerFirst = 20     // instances that are there before: connections stand, and what is made once is there
	registerMost  = 10_000 // instances
)

// kept is a contender with those who register.
type kept struct {
	name string
	etcd *etcd
	host host
	who  *process

	memory float64
	before usage
	few    *resting // of the first that were measured
}

// usage is what had been used at some time.
type usage struct {
	at        time.Time
	cpu, etcd time.Duration
	requests  float64
	beats     int64
}

func newKept(b *testing.B, manner string) *kept {
	b.Helper()
	k := &kept{name: manner, etcd: startEtcd(b)}
	addr := k.etcd.addr
	if k.host = k.etcd.host(); manner != "raw" {
		s := startServer(b, k.etcd, "rollcall")
		k.host, addr = s.host(), s.grpc
	}
	k.who = play(b, "registrants", registrantArgs{addr, manner, registerMost})
	return k
}

// resting is what goes on in a second when nobody comes.
type resting struct{ cpu, beats float64 } // in microseconds

func (u usage) since(before usage) resting {
	seconds := u.at.Sub(before.at).Seconds()
	return resting{micros(u.cpu-before.cpu) / seconds, float64(u.beats-before.beats) / seconds}
}

func (k *kept) usage(b *testing.B) usage {
	b.Helper()
	u := usage{requests: k.etcd.requests(b)}
	k.who.ask(b, 0, &u.beats)
	u.at, u.cpu, u.etcd = time.Now(), k.host.cpu(b), cpuOf(b, k.etcd.pid)
	return u
}

// compareRegistrations registers some more until there are n. It can be done once only.
func compareRegistrations(b *testing.B, all []*kept, more, n int) {
	rest := beatEvery
	if testing.Short() {
		rest = beatEvery / 3
	}
	for _, k := range all {
		k.memory = k.host.memory(b)
	}
	for _, k := range all {
		k.register(b, more, n)
	}
	for _, k := range all {
		report(b, k.name, "kB", (k.host.memory(b)-k.memory)/1e3/float64(more))
		k.before = k.usage(b)
	}
	<-time.After(rest)
	for _, k := range all {
		k.rested(b, n)
	}
}

// register registers what is left until there are n.
func (k *kept) register(b *testing.B, count, n int) {
	b.Helper()
	before := k.usage(b)
	var answer registered
	k.who.ask(b, n, &answer)
	after := k.usage(b)
	each := func(d time.Duration) float64 { return micros(d) / float64(count) }
	report(b, k.name, "registrations/s", float64(count)/answer.All.Seconds())
	report(b, k.name, "cpu-µs", each(after.cpu-before.cpu))
	report(b, k.name, "etcd-cpu-µs", each(after.etcd-before.etcd))
	report(b, k.name, "etcd-requests", (after.requests-before.requests)/float64(count))
	report(b, k.name, "p50-ms", millis(answer.Took.P50))
	report(b, k.name, "p99-ms", millis(answer.Took.P99))
	report(b, k.name, "max-ms", millis(answer.Took.Max))
}

// beatsThatCount is how many instances there must be for their heartbeats to stand out from what goes on anyway.
const beatsThatCount = 10_000

// rested reports what it took that all n stayed for a while. What a heartbeat costs is what these cost more than few.
func (k *kept) rested(b *testing.B, n int) {
	b.Helper()
	u := k.usage(b)
	now := u.since(k.before)
	report(b, k.name, "kept-cpu-µs", now.cpu/float64(n))
	report(b, k.name, "kept-etcd-requests/s", (u.requests-k.before.requests)/u.at.Sub(k.before.at).Seconds())
	if now.beats > 0 {
		report(b, k.name, "heartbeats/s", now.beats)
	}
	if k.few == nil {
		k.few = &now
	} else if n >= beatsThatCount && now.beats > k.few.beats {
		report(b, k.name, "heartbeat-cpu-µs", (now.cpu-k.few.cpu)/(now.beats-k.few.beats))
	}
}
