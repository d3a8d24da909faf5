//go:build unix

package channel

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkChange measures what a change of one instance costs a process with a gRPC channel to all N of the service, in
// processor time and in bytes allocated: with rollcall's policy and resolver, with round_robin on rollcall's resolver and
// on the one of etcd's client/v3/naming, with a policy that does nothing but connect, "bare", and without a channel, in a
// process that does nothing but watch the service's keys, "raw": what it costs to be told at all, or that makes besides a connection
// to each instance that comes, "raw-dial"; and with the resolvers
// and policies of go-zero, kratos and GoFrame, as their clients have them. The changes are an
// instance written again as it was, one with another weight, one replaced by another, which is a connection more to make,
// and a tenth of all replaced at once. Each contender has a process, a service and peers of its own in one etcd; they take
// turns. The ratio is rollcall's processor time to that of round_robin on etcd's resolver; the net ratio is the same without
// what both need to be told.
//
// 10,000 connections of round_robin take a minute to be made; without ROLLCALL_BENCH_LONG=1 they are left out.
//
//	ROLLCALL_BENCH_LONG=1 go test -run '^$' -bench Change/N=10000 -timeout 1h ./channel
func BenchmarkChange(b *testing.B) {
	for _, n := range sizes(100, 1000, 10_000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			etcd := startStore(b)
			var rows []*row
			for _, c := range affordable(b, n, watching, dialling, connecting, rollcalls, roundRobin, etcdsOwn, goZero, kratos, gf) {
				r := newRow(b, etcd, c, n)
				r.process.ask(b, order{Do: "connect", Ready: r.ready()})
				rows = append(rows, r)
			}
			window := min(5*time.Millisecond+time.Duration(n)*10*time.Microsecond, 100*time.Millisecond) // the resolver's
			b.Run("same", func(b *testing.B) { benchmarkChange(b, rows, window, (*fleet).repeat, 0) })
			b.Run("weight", func(b *testing.B) { benchmarkChange(b, rows, window, (*fleet).weigh, 0) })
			b.Run("replace", func(b *testing.B) { benchmarkChange(b, rows, window, (*fleet).replace, 1) })
			b.Run("churn", func(b *testing.B) { benchmarkChurn(b, rows) })
		})
	}
}

func (r *row) begin(b *testing.B) { r.process.ask(b, order{Do: "mark"}) }

// end tells the process that begin's changes have been made, and has it catch up with them.
func (r *row) end(b *testing.B, dials int) {
	b.Helper()
	if r.resolver == "" || r.resolver == "gozero" {
		dials = 0 // there is no channel, or it may not have drawn what was changed
	}
	r.process.tell(b, order{Do: "settled", Ready: r.ready(), Dials: dials, Account: true})
}

// ended waits until the channel has caught up, notes what one change cost, and sees to it that with gRPC's own policies and
// ours none cost more connections than it had to.
func (r *row) ended(b *testing.B, made, dials int) {
	b.Helper()
	got := r.process.answer(b, order{Do: "settled"})
	if r.resolver != "" && formats[r.resolver] == nil && got.Dials != dials {
		b.Errorf("%s: %d connections were made for %d changes, want %d", r.name, got.Dials, made, dials)
	}
	if got.Updates > 0 && got.Updates < made*9/10 {
		b.Logf("%s: %d changes were gathered into %d updates", r.name, made, got.Updates)
	}
	r.cost(got, made)
}

// cost notes what a number of changes cost.
func (r *row) cost(got reading, made int) {
	r.note("cpu-µs", micros(got.CPU+got.Collecting)/float64(made))
	r.note("kB", float64(got.Bytes)/1000/float64(made))
	r.note("dials", float64(got.Dials)/float64(made))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// benchmarkChange makes changes that each cost so many connections, one by one and far enough apart for none to be
// gathered with the next. The first ones after a garbage collection are not measured: stacks have to grow anew, and pools to be filled.
func benchmarkChange(b *testing.B, rows []*row, window time.Duration, change func(*fleet), dials int) {
	turns := changing{b: b, rows: rows, rest: window + 5*time.Millisecond, change: change}
	reset(rows)
	for b.Loop() {
		for _, r := range rows {
			r.begin(b)
		}
		turns.take(func(*row) int { return warming })
		for _, r := range rows {
			r.process.ask(b, order{Do: "begin"})
		}
		turns.take((*row).changes)
		for _, r := range rows {
			r.end(b, dials*r.changes())
		}
		for _, r := range rows {
			r.ended(b, r.changes(), dials*r.changes())
		}
	}
	report(b, rows)
	ratio(b, rows, "cpu-µs", "ratio", "rollcall", "etcd-rr", "")
	ratio(b, rows, "cpu-µs", "net-ratio", "rollcall", "etcd-rr", "raw")
}

// warming is how many changes are made before those that are measured.
const warming = 2

// changing has contenders take turns, with so much rest for each between two changes.
type changing struct {
	b      *testing.B
	rows   []*row
	rest   time.Duration
	change func(*fleet)
}

// take makes as many changes for each as it is to have; who has had all of them is left out.
func (c changing) take(times func(*row) int) {
	left := slices.Clone(c.rows)
	for k := 0; ; k++ {
		left = slices.DeleteFunc(left, func(r *row) bool { return k >= times(r) })
		if len(left) == 0 {
			return
		}
		pause := time.NewTicker(max(c.rest/time.Duration(len(left)), 5*time.Millisecond))
		for _, r := range left {
			c.change(r.fleet)
			<-pause.C
		}
		pause.Stop()
	}
}

// benchmarkChurn replaces tenths, one contender after the other.
func benchmarkChurn(b *testing.B, rows []*row) {
	reset(rows)
	for b.Loop() {
		for _, r := range rows {
			r.begin(b)
			r.fleet.churn()
			r.end(b, r.n/10)
			r.ended(b, 1, r.n/10)
		}
	}
	report(b, rows)
	ratio(b, rows, "cpu-µs", "ratio", "rollcall", "etcd-rr", "")
	ratio(b, rows, "cpu-µs", "net-ratio", "rollcall", "etcd-rr", "raw")
}
