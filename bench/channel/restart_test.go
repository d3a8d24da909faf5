//go:build unix

package channel

import (
	"fmt"
	"testing"
	"time"
)

// waves is in how many parts a rolling restart goes.
const waves = 100

// wave is how long one takes.
func wave() time.Duration {
	if testing.Short() {
		return 12 * time.Millisecond
	}
	return 40 * time.Millisecond
}

// BenchmarkRestart measures what a rolling restart of all N instances of a service costs a process with a gRPC channel to
// them, in processor time and in bytes allocated, and how many connections it makes: each instance is replaced by another
// one once, a hundredth of them at a time, every 40 ms. The contenders are those of BenchmarkChange, and restart side by
// side. What the garbage collector takes is in it.
//
//	go test -run '^$' -bench Restart/N=1000 ./channel
func BenchmarkRestart(b *testing.B) {
	for _, n := range sizes(100, 300, 1000, 10_000) {
		if n == 10_000 && !long() {
			continue
		}
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			etcd := startStore(b)
			var rows []*row
			for _, c := range affordable(b, n, watching, connecting, rollcalls, roundRobin, etcdsOwn, goZero, kratos, gf) {
				if c.resolver == "gozero" && n >= 1000 && !long() {
					continue // 62,000 connections take too long
				}
				r := newRow(b, etcd, c, n)
				r.process.ask(b, order{Do: "connect", Ready: r.ready()})
				rows = append(rows, r)
			}
			for b.Loop() {
				restart(b, rows)
			}
			report(b, rows)
			ratio(b, rows, "cpu-ms", "ratio", "rollcall", "etcd-rr", "")
			ratio(b, rows, "cpu-ms", "over-bare", "rollcall", "bare", "")
		})
	}
}

func restart(b *testing.B, rows []*row) {
	for _, r := range rows {
		r.process.ask(b, order{Do: "begin"})
	}
	pace := time.NewTicker(wave())
	defer pace.Stop()
	for range waves {
		for _, r := range rows {
			r.fleet.replaceSome(r.n / waves)
		}
		<-pace.C
	}
	for _, r := range rows {
		least := r.n
		if r.resolver == "" || r.resolver == "gozero" {
			least = 0
		}
		got := r.process.ask(b, order{Do: "settled", Ready: r.ready(), Dials: least})
		if got.Dials != least && formats[r.resolver] == nil {
			b.Errorf("%s: %d connections were made for %d new instances", r.name, got.Dials, r.n)
		}
		r.note("cpu-ms", micros(got.CPU)/1000)
		r.note("MB", float64(got.Bytes)/1e6)
		r.note("dials", float64(got.Dials))
		r.note("updates", float64(got.Updates))
	}
}
