//go:build unix

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// longEnv, if set, has the benchmarks include 10,000 connections of round_robin, which take a minute each.
const longEnv = "ROLLCALL_BENCH_LONG"

// contender is one of what is compared.
type contender struct {
	name     string // in the names of metrics
	policy   string
	config   string
	resolver string
}

var (
	watching   = contender{"watch", "pick_first", `{}`, ""}
	connecting = contender{"bare", "bare", `{}`, "rollcall"}
	roundRobin = contender{"rr", "round_robin", `{}`, "rollcall"}
	etcdsOwn   = contender{"etcd-rr", "round_robin", `{}`, "etcd"}
	rollcalls  = contender{"rollcall", "rollcall", `{"subset":{"disabled":true}}`, "rollcall"}
)

// changes is how many changes are measured together.
const changes = 32

// affordable leaves those of the contenders that can be run with n instances.
func affordable(n int, all ...contender) []contender {
	var some []contender
	for _, c := range all {
		if c.policy != "round_robin" || n < 10_000 || os.Getenv(longEnv) != "" {
			some = append(some, c)
		}
	}
	return some
}

// BenchmarkChange measures what a change of one instance costs a process with a gRPC channel to all N of the service, in
// processor time and in bytes allocated: with rollcall's policy and resolver, with round_robin on rollcall's resolver and
// on the one of etcd's client/v3/naming, with a policy that does nothing but connect, "bare", and without a channel, in a
// process that does nothing but watch the service's keys, "watch": what it costs to be told at all. The changes are an
// instance written again as it was, one with another weight, one replaced by another, which is a connection more to make,
// and a tenth of all replaced at once. Each contender has a process, a service and peers of its own in one etcd; they take
// turns. The ratio is rollcall's processor time to that of round_robin on etcd's resolver; the net ratio is the same without
// what both need to be told.
//
// 10,000 connections of round_robin take a minute to be made; without ROLLCALL_BENCH_LONG=1 they are left out.
//
//	make bench
//	ROLLCALL_BENCH_LONG=1 go test -run '^$' -bench Change/N=10000 -timeout 1h ./internal/integration
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			etcd := etcdtest.Start(b)
			var rows []*row
			for _, c := range affordable(n, watching, connecting, rollcalls, roundRobin, etcdsOwn) {
				r := newRow(b, etcd, c, n)
				r.program.ask(b, order{Do: "connect", Ready: r.ready()})
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

// row is a contender at work.
type row struct {
	contender
	n       int
	fleet   *fleet
	program *program

	cpu   []time.Duration // what was measured: for one change each
	bytes []float64
}

// newRow starts a contender's processes, and puts n instances into etcd for it.
func newRow(b *testing.B, etcd *etcdtest.Server, c contender, n int) *row {
	b.Helper()
	fleet := newFleet(b, etcd.Client(b), c.name, n)
	return &row{contender: c, n: n, fleet: fleet, program: startChannel(b, c.channel(n, etcd.Endpoint(), startPeers(b)))}
}

// channel describes the contender's channel to n instances.
func (c contender) channel(n int, etcd string, peers []string) channel {
	reserve := 16<<20 + n*4_000
	if c.policy == "round_robin" {
		reserve += n * 40_000
	}
	return channel{
		Policy: c.policy, Config: json.RawMessage(c.config), Resolver: c.resolver, Service: c.name, N: n,
		Etcd: etcd, Peers: peers, Reserve: reserve,
	}
}

// ready is how many connections the contender has when it has them all.
func (r *row) ready() int {
	if r.resolver == "" {
		return 0
	}
	return r.n
}

func (r *row) begin(b *testing.B) { r.program.ask(b, order{Do: "mark"}) }

// end waits until the channel has caught up with what was changed since begin, notes what one change cost, and sees to it
// that none cost more connections than it had to.
func (r *row) end(b *testing.B, made, dials int) {
	b.Helper()
	if r.resolver == "" {
		dials = 0
	}
	got := r.program.ask(b, order{Do: "settled", Ready: r.ready(), Dials: dials, Account: true})
	if got.Dials != dials {
		b.Errorf("%s: %d connections were made for %d changes, want %d", r.name, got.Dials, made, dials)
	}
	if got.Updates > 0 && got.Updates < made*9/10 {
		b.Logf("%s: %d changes were gathered into %d updates", r.name, made, got.Updates)
	}
	r.note(got, made)
}

// note notes what a number of changes cost.
func (r *row) note(got reading, made int) {
	r.cpu = append(r.cpu, (got.CPU+got.Collecting)/time.Duration(made))
	r.bytes = append(r.bytes, float64(got.Bytes)/float64(made))
}

// benchmarkChange makes changes that each cost so many connections, one by one and far enough apart for none to be
// gathered with the next.
func benchmarkChange(b *testing.B, rows []*row, window time.Duration, change func(*fleet), dials int) {
	pause := time.NewTicker(max((window+5*time.Millisecond)/time.Duration(len(rows)), 5*time.Millisecond))
	defer pause.Stop()
	reset(rows)
	for b.Loop() {
		for _, r := range rows {
			r.begin(b)
		}
		for range changes {
			for _, r := range rows {
				change(r.fleet)
				<-pause.C
			}
		}
		for _, r := range rows {
			r.end(b, changes, dials*changes)
		}
	}
	report(b, rows)
}

// benchmarkChurn replaces tenths, one contender after the other.
func benchmarkChurn(b *testing.B, rows []*row) {
	reset(rows)
	for b.Loop() {
		for _, r := range rows {
			r.begin(b)
			r.fleet.churn()
			r.end(b, 1, r.n/10)
		}
	}
	report(b, rows)
}

func reset(rows []*row) {
	for _, r := range rows {
		r.cpu, r.bytes = nil, nil
	}
}

// report prints the medians.
func report(b *testing.B, rows []*row) {
	cpu := map[string]time.Duration{}
	for _, r := range rows {
		cpu[r.name] = median(r.cpu)
		b.ReportMetric(float64(median(r.cpu))/float64(time.Microsecond), r.name+"-cpu-µs")
		b.ReportMetric(middle(r.bytes)/1000, r.name+"-kB")
	}
	b.ReportMetric(0, "ns/op") // it is the pauses'
	if told, our, its := cpu[watching.name], cpu[rollcalls.name], cpu[etcdsOwn.name]; our > 0 && its > 0 {
		b.ReportMetric(float64(our)/float64(its), "ratio")
		if told > 0 {
			b.ReportMetric(float64(our-told)/float64(its-told), "net-ratio")
		}
	}
}

func middle(f []float64) float64 {
	slices.Sort(f)
	return f[len(f)/2]
}
