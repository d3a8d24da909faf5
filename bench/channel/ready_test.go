//go:build unix

package channel

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkReady measures what it costs a process, in processor time, and how long it takes, until a new channel's
// connections to all N instances of a service are READY: with rollcall's policy, with round_robin, both on rollcall's
// resolver, and with a policy that does nothing but connect, "bare". For these the view is known before the channel is
// made. Its connections are the ones that the others make too, so the ratio is of what the policies take beyond it:
// rollcall's to round_robin's.
//
// The other libraries begin from nothing: their channel lists the instances, too, and so does that of "cold", which is
// rollcall's with a registry that is opened for it.
//
// 10,000 connections of round_robin take a minute; without ROLLCALL_BENCH_LONG=1 they are left out.
//
//	ROLLCALL_BENCH_LONG=1 go test -run '^$' -bench Ready/N=10000 -timeout 1h ./channel
func BenchmarkReady(b *testing.B) {
	for _, n := range sizes(100, 1000, 10_000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			etcd := startStore(b)
			var rows []*row
			for _, c := range affordable(b, n, connecting, rollcalls, roundRobin, fromCold, etcdsOwn, goZero, kratos, gf) {
				rows = append(rows, newRow(b, etcd, c, n))
			}
			for b.Loop() {
				for range repeats(n) {
					for _, r := range rows {
						r.connect(b)
					}
				}
			}
			report(b, rows)
			ratio(b, rows, "cpu-ms", "ratio", "rollcall", "rr", "bare")
		})
	}
}

// repeats is how often n connections are made in one measurement.
func repeats(n int) int {
	if testing.Short() {
		return 1
	}
	return min(max(2000/n, 1), 3)
}

// connect makes all connections, notes what they cost, and ends them.
func (r *row) connect(b *testing.B) {
	b.Helper()
	got := r.process.ask(b, order{Do: "connect", Ready: r.ready()})
	r.note("cpu-ms", micros(got.CPU)/1000)
	r.note("ms", float64(got.Took)/float64(time.Millisecond))
	r.note("MB", float64(got.Bytes)/1e6)
	r.process.ask(b, order{Do: "close"})
}
