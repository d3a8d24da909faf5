//go:build unix

package channel

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/roundrobin"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

// BenchmarkPolicyReachesEveryChannel measures how long after SetPolicy is called, and how long after etcd has confirmed it, the
// last of N channels, each with a registry of its own and connected to four servers, has the load-balancing policy that it
// names ("rollcall-write" and "rollcall-confirmed").
func BenchmarkPolicyReachesEveryChannel(b *testing.B) {
	for _, n := range []int64{1, 8, 64} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) { benchmarkPolicy(b, n) })
	}
}

func benchmarkPolicy(b *testing.B, channels int64) {
	etcd := etcdtest.Start(b)
	operator := openBench(b, etcd)
	for _, addr := range startSilent(b) {
		if _, err := operator.Register(b.Context(), "svc", rollcall.Instance{Addr: addr}); err != nil {
			b.Fatal(err)
		}
	}
	// A policy that replaces another is built anew: that is the moment.
	probes := [2]*builtProbe{{name: "bench_probe_a"}, {name: "bench_probe_b"}}
	for _, p := range probes {
		balancer.Register(p)
	}
	for range channels {
		conn, err := rollcallgrpc.NewClient("svc", openBench(b, etcd), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		conn.Connect()
		for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
			conn.WaitForStateChange(b.Context(), state)
		}
	}
	var written, applied []time.Duration
	for b.Loop() {
		for n := range 2 * samples() {
			<-time.After(rest(int(channels)))
			all := probes[n%2].expect(channels)
			began := time.Now()
			if _, err := operator.SetPolicy(b.Context(), "svc", rollcall.Policy{Balancer: probes[n%2].name, Revision: rollcall.AnyRevision}); err != nil {
				b.Fatal(err)
			}
			confirmed := time.Now()
			<-all
			applied = append(applied, time.Since(began))
			written = append(written, max(time.Since(confirmed), 0))
		}
	}
	quantiles(b, "rollcall-write", applied)
	quantiles(b, "rollcall-confirmed", written)
	b.ReportMetric(0, "ns/op")
}

func openBench(b *testing.B, etcd *etcdtest.Server) *rollcall.Registry {
	b.Helper()
	reg, err := rollcall.Open(rollcall.ClientConfig(etcd.Endpoint()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = reg.Close(b.Context()) })
	return reg
}

// builtProbe is round robin under another name, which notes when channels begin with it.
type builtProbe struct {
	name string
	left atomic.Int64
	mu   sync.Mutex
	all  chan struct{} // guarded by mu
}

func (p *builtProbe) Name() string { return p.name }

// expect returns a channel that is closed when so many have been built from now on.
func (p *builtProbe) expect(n int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = make(chan struct{})
	p.left.Store(n)
	return p.all
}

func (p *builtProbe) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	if p.left.Add(-1) == 0 {
		p.mu.Lock()
		close(p.all)
		p.mu.Unlock()
	}
	return balancer.Get(roundrobin.Name).Build(cc, opts)
}
