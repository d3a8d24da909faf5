//go:build linux

package integration

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// BenchmarkDNS measures what names cost the process that answers them, interleaved in one run with CoreDNS, its etcd plugin and its cache:
// the same instances lie in the same etcd for both, and the same questions are asked of both, 32 at a time, by UDP on 4 sockets, by TCP on as
// many connections, or on 4 if they are "pipelined". TCP is told all instances, UDP as many as fit; "churn" replaces ten instances a second;
// "names" asks for one service after the other, so that CoreDNS's cache has none of them. It reports the CPU of the process for an answer and
// answers per second of it, the time to an answer at a moderate rate, what is in the answers, and the memory that the process has then. N is the instances, or the names. With 10,000
// instances a round takes up to 20 s, for CoreDNS does not keep up; without ROLLCALL_BENCH_LONG=1 they are left out, as is what matters less.
//
//	make bench
func BenchmarkDNS(b *testing.B) {
	kinds := []dnsKind{
		{name: "A", rtype: mdns.TypeA, network: "udp", conns: 4},
		{name: "SRV", rtype: mdns.TypeSRV, network: "udp", conns: 4},
		{name: "A-TCP", rtype: mdns.TypeA, network: "tcp", conns: dnsInFlight},
		{name: "SRV-TCP", rtype: mdns.TypeSRV, network: "tcp", conns: dnsInFlight, long: true},
		{name: "A-churn", rtype: mdns.TypeA, network: "udp", conns: 4, churn: true},
		{name: "A-TCP-churn", rtype: mdns.TypeA, network: "tcp", conns: dnsInFlight, churn: true, long: true},
	}
	for _, n := range []int{10, 100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) { benchmarkDNS(b, n, kinds) })
	}
	const names = 20_000 // more than CoreDNS is asked for in the 5 s that it remembers
	b.Run(fmt.Sprintf("N=%d/names", names), func(b *testing.B) {
		if testing.Short() {
			b.Skip("it takes long")
		}
		w := newDNSWorld(b)
		k := dnsKind{rtype: mdns.TypeA, network: "udp", conns: 4}
		w.compare(b, k, dnsQuestions(k, w.fillNames(names)...))
	})
}

func benchmarkDNS(b *testing.B, n int, kinds []dnsKind) {
	long := os.Getenv(longEnv) != ""
	switch {
	case n >= 10_000 && !long:
		b.Skip(longEnv + " is not set")
	case n >= 1_000 && testing.Short():
		b.Skip("it takes long")
	}
	if n == 10 { // with more the way of an answer costs less than the answer
		kinds = append(slices.Clone(kinds), dnsKind{name: "A-TCP-pipelined", rtype: mdns.TypeA, network: "tcp", conns: 4, long: true})
	}
	w := newDNSWorld(b)
	w.fill(n)
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			if k.long && !long {
				b.Skip(longEnv + " is not set")
			}
			w.compare(b, k, dnsQuestions(k, w.fleet.service))
		})
	}
}

// dnsKind is a kind of question, and what goes on while it is asked.
type dnsKind struct {
	name    string
	rtype   uint16
	network string
	conns   int
	churn   bool
	long    bool // only with longEnv
}

// dnsQuestions makes a question for each service, as dig asks it: with room for 1232 bytes, and a cookie.
func dnsQuestions(k dnsKind, services ...string) [][]byte {
	list := make([][]byte, len(services))
	for i, service := range services {
		m := new(mdns.Msg).SetQuestion(service+".service.rollcall.", k.rtype)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_COOKIE{Code: mdns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
		list[i], _ = m.Pack()
	}
	return list
}

// dnsRound is what one server has done in one round.
type dnsRound struct {
	dnsCount
	CPU, Etcd time.Duration   // of the server's process, and of etcd's
	times     []time.Duration // to answers, at a moderate rate
	late      int64           // of those that were asked so, without an answer
}

func (r dnsRound) perSecond() float64 { return float64(r.answers) / r.CPU.Seconds() }

// dnsTurns is how often the servers take turns in a round: whatever else the machine does then hits both.
const dnsTurns = 4

func (w *dnsWorld) compare(b *testing.B, k dnsKind, questions [][]byte) {
	window, pacing, rate := 80*time.Millisecond, 300*time.Millisecond, 500
	if testing.Short() {
		window, pacing = 25*time.Millisecond, 100*time.Millisecond
	}
	var rounds [2][]dnsRound
	for b.Loop() {
		var loads [2]*dnsLoad
		for i, s := range w.servers {
			loads[i] = &dnsLoad{network: k.network, addr: s.addr, questions: questions, cursor: &s.cursor}
			loads[i].open(b, k.conns)
		}
		var sum [2]dnsRound
		for turn := range dnsTurns {
			for i := range w.servers {
				i = (i + turn) % len(w.servers) // who is first is last in the next turn
				w.saturate(b, i, k, loads[i], window, &sum[i])
			}
		}
		for i := range w.servers {
			w.during(b, k.churn, func() { sum[i].times, sum[i].late = loads[i].pace(pacing, rate) })
			rounds[i] = append(rounds[i], sum[i])
			loads[i].close()
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, s := range w.servers {
		reportDNS(b, s.name, rounds[i])
		b.ReportMetric(residentMB(b, s.pid), s.name+"-resident-MB")
	}
}

// residentMB is the memory that a process has now, its program's text included.
func residentMB(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var all, resident float64
	if err == nil {
		_, err = fmt.Sscan(string(text), &all, &resident)
	}
	if err != nil {
		b.Fatal(err)
	}
	return resident * float64(os.Getpagesize()) / 1e6
}

// saturate asks one server as much as it can answer.
func (w *dnsWorld) saturate(b *testing.B, server int, k dnsKind, load *dnsLoad, window time.Duration, sum *dnsRound) {
	if len(load.questions) == 1 {
		load.ask(b) // it is in the cache
	}
	pid := w.servers[server].pid
	cpu, etcd := cpuOf(b, pid), cpuOf(b, w.etcdPid)
	w.during(b, k.churn, func() { sum.add(load.saturate(window)) })
	sum.CPU, sum.Etcd = sum.CPU+cpuOf(b, pid)-cpu, sum.Etcd+cpuOf(b, w.etcdPid)-etcd
}

// reportDNS reports the medians of the rounds of one server.
func reportDNS(b *testing.B, name string, rounds []dnsRound) {
	middle := func(of func(dnsRound) float64) float64 {
		var list []float64
		for _, r := range rounds {
			list = append(list, of(r))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	each := func(what func(dnsRound) int64) float64 {
		return middle(func(r dnsRound) float64 { return float64(what(r)) / float64(r.answers) })
	}
	speed := middle(dnsRound.perSecond)
	if speed == 0 {
		b.Fatalf("%s answers nothing", name)
	}
	var times []time.Duration
	var failed, late int64
	for _, r := range rounds {
		times, failed, late = append(times, r.times...), failed+r.failed, late+r.late
	}
	b.ReportMetric(speed, name+"-answers/cpu-s")
	b.ReportMetric(1e6/speed, name+"-cpu-µs")
	if len(times) > 0 {
		b.ReportMetric(micros(times, 50), name+"-p50-µs")
		b.ReportMetric(micros(times, 99), name+"-p99-µs")
		b.ReportMetric(micros(times, 100), name+"-max-µs")
	}
	b.ReportMetric(each(func(r dnsRound) int64 { return r.bytes }), name+"-answer-B")
	b.ReportMetric(each(func(r dnsRound) int64 { return r.records }), name+"-records")
	b.ReportMetric(100*each(func(r dnsRound) int64 { return r.truncated }), name+"-TC-%")
	b.ReportMetric(float64(failed+late), name+"-failed")
	b.ReportMetric(each(func(r dnsRound) int64 { return r.Etcd.Microseconds() }), name+"-etcd-cpu-µs")
}
