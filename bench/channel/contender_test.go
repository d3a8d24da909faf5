//go:build unix

package channel

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// longEnv, if set, has the benchmarks include what takes minutes: 10,000 connections of round_robin.
const longEnv = "ROLLCALL_BENCH_LONG"

// contender is one of what is compared.
type contender struct {
	name     string // in the names of metrics
	policy   string
	config   string
	resolver string
}

var (
	watching   = contender{"raw", "", `{}`, ""}
	dialling   = contender{"raw-dial", "", `{}`, "dial"}
	connecting = contender{"bare", "bare", `{}`, "rollcall"}
	rollcalls  = contender{"rollcall", "rollcall", `{"subset":{"disabled":true}}`, "rollcall"}
	fromCold   = contender{"cold", "rollcall", `{"subset":{"disabled":true}}`, "cold"}
	roundRobin = contender{"rr", "round_robin", `{}`, "rollcall"}
	etcdsOwn   = contender{"etcd-rr", "round_robin", `{}`, "etcd"}
	goZero     = contender{"gozero", "", `{}`, "gozero"}
	kratos     = contender{"kratos", "", `{}`, "kratos"}
	gf         = contender{"gf", "", `{}`, "gf"}
)

// formats are how instances lie in etcd for the libraries that have a format of their own.
var formats = map[string]func(service, addr string, weight int) (key, value string){
	"gozero": func(service, addr string, _ int) (key, value string) {
		id := fnv.New64a() // it would be a lease's
		_, _ = id.Write([]byte(addr))
		return fmt.Sprintf("%s/%d", service, id.Sum64()>>1), addr
	},
	"kratos": func(service, addr string, weight int) (key, value string) {
		return fmt.Sprintf("/microservices/%s/%s", service, addr),
			fmt.Sprintf(`{"id":%q,"name":%q,"version":"","metadata":{"weight":"%d"},"endpoints":["grpc://%[1]s"]}`, addr, service, weight)
	},
	"gf": func(service, addr string, weight int) (key, value string) {
		return fmt.Sprintf("/service/default/default/%s/latest/%s", service, addr), fmt.Sprintf(`{"protocol":"grpc","weight":%d}`, weight)
	},
}

// gozeroDraws is how many of the instances go-zero's resolver has, drawn anew each time that they change.
const gozeroDraws = 32

// slow tells whether n instances take the contender minutes.
func (c contender) slow(n int) bool { return c.policy == "round_robin" && n >= 10_000 }

// hopeless tells whether they take it hours: the other libraries with very many, and GoFrame, which makes all connections anew when one
// instance changes, with many.
func (c contender) hopeless(n int) bool {
	return formats[c.resolver] != nil && n >= 10_000 || c.resolver == "gf" && n > 100
}

func long() bool { return os.Getenv(longEnv) != "" }

// changes is how many changes of one instance are measured together.
func changes() int {
	if testing.Short() {
		return 8
	}
	return 16
}

// changes is how many of them the row is put through: some take long. Of those that a bar is about there are more, as far as there is time.
func (r *row) changes() int {
	switch {
	case r.resolver == "gf":
		return changes() / 8
	case r.n <= 1000 && slices.Contains(barred, r.name):
		return 4 * changes()
	}
	return changes()
}

// barred are the contenders that a bar on the cost of a change is about.
var barred = []string{watching.name, dialling.name, rollcalls.name, etcdsOwn.name}

// affordable leaves those of the contenders that can be run with n instances.
func affordable(b *testing.B, n int, all ...contender) []contender {
	b.Helper()
	return slices.DeleteFunc(all, func(c contender) bool { return c.hopeless(n) || c.slow(n) && !long() || c.missing(b) })
}

// missing tells whether the contender's code cannot be had.
func (c contender) missing(b *testing.B) bool {
	b.Helper()
	if formats[c.resolver] == nil {
		return false
	}
	_, err := peersProgram()
	if err != nil {
		b.Logf("%s is left out: %v", c.name, err)
	}
	return err != nil
}

// sizes leaves out those for which there is no time.
func sizes(all ...int) []int {
	return slices.DeleteFunc(all, func(n int) bool { return testing.Short() && n > 100 })
}

// spec describes the contender's channel to n instances.
func (c contender) spec(n int, etcd string, peers []string) spec {
	reserve := 16<<20 + n*4_000
	if c.policy == "round_robin" || c.policy == "" && c.resolver != "" {
		reserve += n * 40_000
	}
	return spec{
		Policy: c.policy, Config: json.RawMessage(c.config), Resolver: c.resolver, Service: c.name, N: n, Changes: changes(),
		Etcd: etcd, Peers: peers, Reserve: reserve,
	}
}

// store is an etcd.
type store struct {
	client    *clientv3.Client
	endpoints string // with commas between them
}

func startStore(b *testing.B) store {
	etcd := etcdtest.Start(b)
	return store{etcd.Client(b), etcd.Endpoint()}
}

// startCluster starts a store of three processes, which syncs what is written.
func startCluster(b *testing.B) store {
	etcd := etcdtest.StartCluster(b, 3, etcdtest.WithFsync())
	return store{etcd.Client(b), strings.Join(etcd.Endpoints(), ",")}
}

// row is a contender at work.
type row struct {
	contender
	n       int
	fleet   *fleet
	process *process
	figures map[string][]float64 // by unit: what was measured
}

// newRow starts a contender's processes, and puts n instances into etcd for it.
func newRow(b *testing.B, etcd store, c contender, n int) *row {
	b.Helper()
	fleet := newFleet(b, etcd.client, c, n)
	return &row{contender: c, n: n, fleet: fleet, process: startProgram(b, c.spec(n, etcd.endpoints, startSilent(b))), figures: map[string][]float64{}}
}

// ready is how many connections the contender has when it has them all.
func (r *row) ready() int {
	switch r.resolver {
	case "", "dial":
		return 0
	case "gozero":
		return min(r.n, gozeroDraws)
	}
	return r.n
}

func (r *row) note(unit string, figure float64) { r.figures[unit] = append(r.figures[unit], figure) }

// reset forgets what was measured.
func reset(rows []*row) {
	for _, r := range rows {
		clear(r.figures)
	}
}

// report prints the medians.
func report(b *testing.B, rows []*row) {
	for _, r := range rows {
		for unit, figures := range r.figures {
			b.ReportMetric(middle(figures), r.name+"-"+unit)
		}
	}
	b.ReportMetric(0, "ns/op") // it is the pauses'
}

// ratio prints what one contender's figure is to another's, less a third's that both have to bear, if such there is.
func ratio(b *testing.B, rows []*row, unit, name, of, to, less string) {
	figure := func(name string) (f float64) {
		for _, r := range rows {
			if r.name == name && len(r.figures[unit]) > 0 {
				f = middle(r.figures[unit])
			}
		}
		return f
	}
	if a, c := figure(of), figure(to); a > 0 && c > figure(less) {
		b.ReportMetric((a-figure(less))/(c-figure(less)), name)
	}
}

func middle(f []float64) float64 {
	slices.Sort(f)
	return f[len(f)/2]
}
