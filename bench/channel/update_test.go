//go:build unix

package channel

import (
	"fmt"
	"testing"
)

// The contenders of BenchmarkUpdate, as those of BenchmarkChange but without etcd.
var modelled = []contender{
	{"bare", "bare", `{}`, "views"},
	{"rollcall", "rollcall", `{"subset":{"disabled":true}}`, "views"},
	{"rr", "round_robin", `{}`, "views"},
	{"etcd-rr", "round_robin", `{}`, "lists"},
}

// BenchmarkUpdate is BenchmarkChange without what comes before a channel: etcd, the registry, and being woken up from
// sleep. It measures what a change that is known costs until the channel goes by it: with rollcall's policy, with
// round_robin and with one that only connects, given the views that rollcall's resolver makes, and with round_robin given a
// new list of all endpoints, as etcd's resolver makes it. The ratio is the first's processor time to the last's.
//
//	make bench
//	ROLLCALL_BENCH_LONG=1 go test -run '^$' -bench Update/N=10000 -timeout 1h ./channel
func BenchmarkUpdate(b *testing.B) {
	for _, n := range sizes(100, 1000, 10_000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			var rows []*row
			for _, c := range affordable(b, n, modelled...) {
				process := startProgram(b, c.spec(n, "", startSilent(b)))
				process.ask(b, order{Do: "connect", Ready: n})
				rows = append(rows, &row{contender: c, n: n, process: process, figures: map[string][]float64{}})
			}
			for _, change := range []string{"weight", "replace"} {
				b.Run(change, func(b *testing.B) {
					reset(rows)
					for b.Loop() {
						for _, r := range rows {
							r.cost(r.process.ask(b, order{Do: change}), changes())
						}
					}
					report(b, rows)
					ratio(b, rows, "cpu-µs", "ratio", "rollcall", "etcd-rr", "")
				})
			}
		})
	}
}
