package integration

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// BenchmarkRegisterToView measures, interleaved in one run, how long it takes from Register to the view of another
// registry, whose service has N other instances, and what etcd itself takes from a conditional put under a lease that exists
// to its watch event: on one etcd that does not sync its writes, and on a cluster of three processes that does. It reports
// percentiles and the ratio of the medians.
//
//	make bench
func BenchmarkRegisterToView(b *testing.B) {
	b.Run("one", func(b *testing.B) { benchmarkViews(b, etcdtest.Start(b).Endpoint()) })
	b.Run("cluster", func(b *testing.B) {
		benchmarkViews(b, etcdtest.StartCluster(b, 3, etcdtest.WithFsync()).Endpoints()...)
	})
}

func benchmarkViews(b *testing.B, endpoints ...string) {
	for _, others := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("N=%d", others), func(b *testing.B) { benchmarkView(b, others, endpoints) })
	}
}

func benchmarkView(b *testing.B, others int, endpoints []string) {
	service := fmt.Sprintf("svc-%d", others)
	fill(b, client(b, endpoints...), "rollcall/services/"+service+"/", others)
	ours, raw := viewLatency(b, endpoints, service, others), eventLatency(b, endpoints, service)
	var view, event []time.Duration
	for n := 0; b.Loop(); n++ {
		view = append(view, ours(n))
		event = append(event, raw(n))
	}
	b.ReportMetric(micros(view, 50), "register→view-p50-µs")
	b.ReportMetric(micros(view, 99), "register→view-p99-µs")
	b.ReportMetric(micros(event, 50), "txn→event-p50-µs")
	b.ReportMetric(micros(event, 99), "txn→event-p99-µs")
	b.ReportMetric(float64(median(view))/float64(median(event)), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// micros returns a percentile in microseconds.
func micros(d []time.Duration, percentile int) float64 {
	slices.Sort(d)
	return float64(d[(len(d)-1)*percentile/100].Microseconds())
}

// viewLatency returns a function that registers instance n beside the others and waits until another registry's view has it.
func viewLatency(b *testing.B, endpoints []string, service string, others int) func(n int) time.Duration {
	reg, observer := openAll(b, endpoints), openAll(b, endpoints)
	w := watch(b, observer, service)
	next(b, w)
	register(b, reg, "other", rollcall.Instance{Addr: fmt.Sprintf("10.0.0.1:%d", others)}) // the lease exists, as it does below
	return func(n int) time.Duration {
		seen := make(chan time.Time, 1)
		go func() {
			for v, err := w.Next(b.Context()); err == nil && len(v.Instances) <= others; v, err = w.Next(b.Context()) {
			}
			seen <- time.Now()
		}()
		began := time.Now()
		r := register(b, reg, service, rollcall.Instance{Addr: fmt.Sprintf("10.255.0.1:%d", n%60000+1)})
		took := (<-seen).Sub(began)
		if err := r.Deregister(b.Context()); err != nil {
			b.Fatal(err)
		}
		until(b, w, 10*time.Second, "it gone", func(v *rollcall.View) bool { return len(v.Instances) == others })
		return took
	}
}

// eventLatency returns a function that puts key n, if it is absent, under a lease, and waits for the watch event.
func eventLatency(b *testing.B, endpoints []string, name string) func(n int) time.Duration {
	writer, reader := client(b, endpoints...), client(b, endpoints...)
	lease, err := writer.Grant(b.Context(), 3600)
	if err != nil {
		b.Fatal(err)
	}
	dir := "raw/" + name + "/"
	events := reader.Watch(b.Context(), dir, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	return func(n int) time.Duration {
		key := fmt.Sprintf("%s%d", dir, n)
		seen := make(chan time.Time, 1)
		go func() {
			<-events
			seen <- time.Now()
		}()
		began := time.Now()
		resp, err := writer.Txn(b.Context()).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, bare, clientv3.WithLease(lease.ID))).Commit()
		if err != nil || !resp.Succeeded {
			b.Fatal(resp, err)
		}
		took := (<-seen).Sub(began)
		if _, err := writer.Delete(b.Context(), key); err != nil {
			b.Fatal(err)
		}
		<-events
		return took
	}
}

// client returns a plain client of etcd.
func client(b *testing.B, endpoints ...string) *clientv3.Client {
	b.Helper()
	c, err := clientv3.New(rollcall.ClientConfig(endpoints...))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// BenchmarkRegisterInBulk measures up to 10,000 registrations at once in one process: how many a second, and how many
// requests etcd gets for all of them.
func BenchmarkRegisterInBulk(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			if testing.Short() && n > 1000 {
				b.Skip("it takes seconds")
			}
			benchmarkBulk(b, n)
		})
	}
}

func benchmarkBulk(b *testing.B, n int) {
	etcd := etcdtest.Start(b)
	var requests, streams atomic.Int64
	cfg := rollcall.ClientConfig(etcd.Endpoint())
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithStatsHandler(&counter{unary: &requests, streams: &streams}))
	for b.Loop() {
		requests.Store(0)
		streams.Store(0)
		reg, err := rollcall.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		registerMany(b, reg, "svc", n)
		b.StopTimer()
		b.ReportMetric(float64(requests.Load()), "requests")
		b.ReportMetric(float64(streams.Load()), "streams")
		if err := reg.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "registrations/s")
}

// counter counts the requests that go out.
type counter struct{ unary, streams *atomic.Int64 }

func (c *counter) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.Begin:
		if s.IsClientStream {
			c.streams.Add(1)
		} else {
			c.unary.Add(1)
		}
	}
}

func (c *counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *counter) HandleConn(context.Context, stats.ConnStats)                       {}
