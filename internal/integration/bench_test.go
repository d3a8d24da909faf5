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
// registry, and what etcd itself takes from a conditional put under a lease that exists to its watch event. It reports
// both medians and their ratio.
//
//	make bench
func BenchmarkRegisterToView(b *testing.B) {
	etcd := etcdtest.Start(b)
	ours := viewLatency(b, etcd)
	raw := eventLatency(b, etcd)
	var view, event []time.Duration
	for n := 0; b.Loop(); n++ {
		view = append(view, ours(n))
		event = append(event, raw(n))
	}
	v, e := median(view), median(event)
	b.ReportMetric(float64(v.Microseconds()), "register→view-µs")
	b.ReportMetric(float64(e.Microseconds()), "txn→event-µs")
	b.ReportMetric(float64(v)/float64(e), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// viewLatency returns a function that registers instance n and waits until another registry's view has it.
func viewLatency(b *testing.B, etcd *etcdtest.Server) func(n int) time.Duration {
	reg, observer := open(b, etcd.Endpoint()), open(b, etcd.Endpoint())
	w := watch(b, observer, "svc")
	next(b, w)
	register(b, reg, "other", rollcall.Instance{Addr: "10.0.0.1:1"}) // the lease exists, as it does below
	return func(n int) time.Duration {
		began := time.Now()
		r := register(b, reg, "svc", rollcall.Instance{Addr: fmt.Sprintf("10.0.0.1:%d", n%60000+1)})
		v := until(b, w, 10*time.Second, "the instance", func(v *rollcall.View) bool { return len(v.Instances) == 1 })
		took := time.Since(began)
		_ = v
		if err := r.Deregister(b.Context()); err != nil {
			b.Fatal(err)
		}
		until(b, w, 10*time.Second, "it gone", func(v *rollcall.View) bool { return len(v.Instances) == 0 })
		return took
	}
}

// eventLatency returns a function that puts key n, if it is absent, under a lease, and waits for the watch event.
func eventLatency(b *testing.B, etcd *etcdtest.Server) func(n int) time.Duration {
	writer, reader := etcd.Client(b), etcd.Client(b)
	lease, err := writer.Grant(b.Context(), 3600)
	if err != nil {
		b.Fatal(err)
	}
	events := reader.Watch(b.Context(), "raw/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	return func(n int) time.Duration {
		key := fmt.Sprintf("raw/%d", n)
		began := time.Now()
		resp, err := writer.Txn(b.Context()).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, bare, clientv3.WithLease(lease.ID))).Commit()
		if err != nil || !resp.Succeeded {
			b.Fatal(resp, err)
		}
		<-events
		took := time.Since(began)
		if _, err := writer.Delete(b.Context(), key); err != nil {
			b.Fatal(err)
		}
		<-events
		return took
	}
}

// BenchmarkRegisterInBulk measures 10,000 registrations at once in one process: how many a second, and how many requests
// etcd gets for all of them.
func BenchmarkRegisterInBulk(b *testing.B) {
	etcd := etcdtest.Start(b)
	const n = 10_000
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
