//go:build unix

package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// BenchmarkReady measures what it costs a process, in processor time, until a new channel's connections to all N
// instances of a service are READY: with rollcall's policy, with round_robin, both on rollcall's resolver, and with a
// policy that does nothing but connect, "bare". Its connections are the ones that the others make too, so the ratio is of
// what the policies take beyond it: rollcall's to round_robin's. The view is known before the channel is made.
//
// 10,000 connections of round_robin take a minute; without ROLLCALL_BENCH_LONG=1 they are left out.
//
//	make bench
//	ROLLCALL_BENCH_LONG=1 go test -run '^$' -bench Ready/N=10000 -timeout 1h ./internal/integration
func BenchmarkReady(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			etcd := etcdtest.Start(b)
			var rows []*row
			for _, c := range affordable(n, connecting, rollcalls, roundRobin) {
				rows = append(rows, newRow(b, etcd, c, n))
			}
			for b.Loop() {
				for range max(5000/n, 1) {
					for _, r := range rows {
						r.connect(b)
					}
				}
			}
			reportReady(b, rows)
		})
	}
}

// connect makes all connections, notes what they cost, and ends them.
func (r *row) connect(b *testing.B) {
	b.Helper()
	got := r.program.ask(b, order{Do: "connect", Ready: r.n})
	r.cpu = append(r.cpu, got.CPU)
	r.bytes = append(r.bytes, float64(got.Bytes))
	r.program.ask(b, order{Do: "close"})
}

func reportReady(b *testing.B, rows []*row) {
	more := map[string]time.Duration{} // than the least that connects
	for _, r := range rows {
		more[r.name] = median(r.cpu) - median(rows[0].cpu)
		b.ReportMetric(float64(median(r.cpu))/float64(time.Millisecond), r.name+"-cpu-ms")
		b.ReportMetric(middle(r.bytes)/1e6, r.name+"-MB")
	}
	b.ReportMetric(0, "ns/op") // it includes the ends of the connections
	if more[roundRobin.name] > 0 && more[rollcalls.name] != 0 {
		b.ReportMetric(float64(more[rollcalls.name])/float64(more[roundRobin.name]), "ratio")
	}
}
