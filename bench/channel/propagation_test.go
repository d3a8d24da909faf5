//go:build unix

package channel

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// rest is what passes before each measurement among n instances: what is measured is news, to a process that has nothing
// else to do, and that gathers nothing any more.
func rest(n int) time.Duration { return 20*time.Millisecond + time.Duration(n)*10*time.Microsecond }

// samples is how often something is measured that is waited for.
func samples() int {
	if testing.Short() {
		return 3
	}
	return 6
}

// percentile is from how many on there is a 99th of 100.
const percentile = 100

// samples is how often the pair's instance comes and goes in one measurement. Of those that a bar is about there is a 99th of 100, if there is time.
func (p *pair) samples() int {
	if long() && slices.Contains(barred, p.name) {
		return percentile
	}
	return samples()
}

// BenchmarkPropagation measures how long it takes from the call that registers an instance until the picker of another
// process's channel, to a service with N other instances, picks it ("register"), and from the call that takes it away until
// the picker does so no more ("deregister"). The instance comes by the library's own function; the others were put into etcd in
// the library's format. What is measured beside it, in processes of its own on the same etcd: "raw", a conditional put
// under a lease that exists, and a delete, until their watch events; "raw-dial", that and a connection to the instance
// until both sides have said what HTTP/2 wants said; and "bare", rollcall with a policy that does nothing but connect, until
// it is READY.
//
// "idle" is when nothing else happens, on one etcd that does not sync its writes; "cluster" is on three that do. In "churn" a twentieth of the other instances is replaced by others each second, at most 50 a
// second, so that about a tenth of them is while a contender is measured.
//
// go-zero's resolver draws 32 of the instances, so that most are never picked. With so many it is measured until the list
// is there of which it draws.
//
// Who has not seen it within 10 s is taken to have needed these.
func BenchmarkPropagation(b *testing.B) {
	for _, n := range append([]int{1}, sizes(100, 1000, 10_000)...) {
		if n == 10_000 && !long() {
			continue
		}
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			pairs := newPairs(b, startStore(b), n)
			b.Run("idle", func(b *testing.B) { benchmarkPropagation(b, pairs, 0) })
			if n > 1 && !testing.Short() {
				b.Run("churn", func(b *testing.B) { benchmarkPropagation(b, pairs, min(n/20, 50)) })
			}
		})
	}
	if testing.Short() {
		return
	}
	b.Run("N=1/cluster", func(b *testing.B) { benchmarkPropagation(b, newPairs(b, startCluster(b), 1), 0) })
	for _, n := range []int{100, 1000} { // of those that a bar is about: the others take long
		b.Run(fmt.Sprintf("N=%d/cluster", n), func(b *testing.B) {
			benchmarkPropagation(b, newPairs(b, startCluster(b), n, watching, connecting, rollcalls, etcdsOwn), 0)
		})
	}
}

func newPairs(b *testing.B, etcd store, n int, contenders ...contender) (pairs []*pair) {
	b.Helper()
	if len(contenders) == 0 {
		contenders = []contender{watching, connecting, rollcalls, etcdsOwn, goZero, kratos, gf}
	}
	for _, c := range affordable(b, n, contenders...) {
		pairs = append(pairs, newPair(b, etcd, c, n))
	}
	return pairs
}

// pair is a contender's channel, and another process of it that registers instances.
type pair struct {
	*row
	registrar *process
	made      int
	came      []time.Duration
	went      []time.Duration
	dialled   []time.Duration
}

func newPair(b *testing.B, etcd store, c contender, n int) *pair {
	b.Helper()
	s := c.spec(n, etcd.endpoints, startSilent(b))
	s.Follow = c.resolver == "gozero" && n+1 > gozeroDraws
	r := &row{contender: c, n: n, fleet: newFleet(b, etcd.client, c, n), process: startProgram(b, s), figures: map[string][]float64{}}
	ready := r.ready()
	if s.Follow {
		ready = 0
	}
	r.process.ask(b, order{Do: "connect", Ready: ready})
	p := &pair{row: r, registrar: startProgram(b, s)}
	p.turn(b)
	p.came, p.went, p.dialled = nil, nil, nil // its registrar has all connections now
	return p
}

func benchmarkPropagation(b *testing.B, pairs []*pair, churn int) {
	for _, p := range pairs {
		p.came, p.went, p.dialled = nil, nil, nil
	}
	for b.Loop() {
		for _, p := range pairs {
			stop := func() {}
			if churn > 0 {
				stop = p.fleet.churning(churn)
			}
			enough := time.Now().Add(time.Minute) // for who cannot keep up
			for range p.samples() {
				if p.turn(b); time.Now().After(enough) {
					break
				}
			}
			stop()
		}
	}
	for _, p := range pairs {
		quantiles(b, p.name+"-register", p.came)
		quantiles(b, p.name+"-deregister", p.went)
		if len(p.dialled) > 0 {
			quantiles(b, p.name+"-dial-register", p.dialled)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// turn has an instance come and go once.
func (p *pair) turn(b *testing.B) {
	b.Helper()
	p.made++
	addr := fmt.Sprintf("10.200.%d.%d:50051", p.made>>8, p.made&255)
	seen, took := p.look(b, addr, true, "register")
	p.came = append(p.came, took)
	if !seen.Dialled.IsZero() {
		p.dialled = append(p.dialled, took+seen.Dialled.Sub(seen.At))
	}
	_, took = p.look(b, addr, false, "deregister")
	p.went = append(p.went, took)
}

// look has the registrar do something, and returns how long it took until the channel's process saw it.
func (p *pair) look(b *testing.B, addr string, coming bool, do string) (reading, time.Duration) {
	b.Helper()
	<-time.After(rest(p.n))
	p.process.ask(b, order{Do: "look", Addr: addr, Coming: coming, Tries: 3*p.n + 20})
	seen := order{Do: "seen", Coming: coming}
	p.process.tell(b, seen)
	began := p.registrar.ask(b, order{Do: do, Addr: addr})
	got := p.process.answer(b, seen)
	if got.At.IsZero() {
		b.Logf("%s: %s was not seen within %v", p.name, do, patience)
		return got, patience
	}
	return got, got.At.Sub(began.At)
}

// quantiles prints the median, the 99th percentile if there is one, and the longest.
func quantiles(b *testing.B, name string, all []time.Duration) {
	b.Helper()
	slices.Sort(all)
	at := func(q float64) float64 { return micros(all[int(math.Ceil(q*float64(len(all))))-1]) }
	b.ReportMetric(at(0.5), name+"-p50-µs")
	if len(all) >= percentile {
		b.ReportMetric(at(0.99), name+"-p99-µs")
	}
	b.ReportMetric(at(1), name+"-max-µs")
}
