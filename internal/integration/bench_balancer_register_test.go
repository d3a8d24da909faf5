package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/resolver"
)

// BenchmarkRegisterToReady measures, interleaved in one run, how long it takes from Register until another registry's
// channel, which is connected to four other servers, has a picker that picks the new one, and what etcd and a dial by
// themselves take: from a conditional put under a lease that exists to its watch event, and on until a connection to the
// address is made that both sides have said on what HTTP/2 wants said first. It reports medians and their ratio, on one
// etcd that does not sync its writes, and on a cluster of three processes that does.
//
//	make bench
func BenchmarkRegisterToReady(b *testing.B) {
	b.Run("one", func(b *testing.B) { benchmarkReady(b, etcdtest.Start(b).Endpoint()) })
	b.Run("cluster", func(b *testing.B) {
		benchmarkReady(b, etcdtest.StartCluster(b, 3, etcdtest.WithFsync()).Endpoints()...)
	})
}

// rest is what passes before each measurement: what is measured is news, to a process that has nothing else to do.
const rest = 20 * time.Millisecond

func benchmarkReady(b *testing.B, endpoints ...string) {
	addr := startServer(b)
	ours, raw := pickerLatency(b, addr, endpoints), dialLatency(b, addr, endpoints)
	var picked, dialled []time.Duration
	for n := 0; b.Loop(); n++ {
		<-time.After(rest)
		picked = append(picked, ours())
		<-time.After(rest)
		dialled = append(dialled, raw(n))
	}
	b.ReportMetric(micros(picked, 50), "register→picker-p50-µs")
	b.ReportMetric(micros(picked, 99), "register→picker-p99-µs")
	b.ReportMetric(micros(dialled, 50), "txn→dialled-p50-µs")
	b.ReportMetric(micros(dialled, 99), "txn→dialled-p99-µs")
	b.ReportMetric(float64(median(picked))/float64(median(dialled)), "ratio")
}

// startServer starts a gRPC server of nothing, and returns its address.
func startServer(b *testing.B) string {
	b.Helper()
	lis, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	go func() { _ = srv.Serve(lis) }()
	b.Cleanup(srv.Stop)
	return lis.Addr().String()
}

// pickerLatency returns a function that registers a server and waits until a channel's picker picks it.
func pickerLatency(b *testing.B, addr string, endpoints []string) func() time.Duration {
	reg, observer := openAll(b, endpoints), openAll(b, endpoints)
	const others = 4
	for range others {
		register(b, reg, "svc", rollcall.Instance{Addr: startServer(b)})
	}
	seen := watchPickers(b, observer, addr)
	eventually(b, time.Minute, "the channel connected", func() bool { return seen.ready.Load() == others })
	return func() time.Duration {
		seen.wanted.Store(true)
		began := time.Now()
		r := register(b, reg, "svc", rollcall.Instance{Addr: addr})
		took := (<-seen.at).Sub(began)
		if err := r.Deregister(b.Context()); err != nil {
			b.Fatal(err)
		}
		eventually(b, time.Minute, "it gone", func() bool { return seen.ready.Load() == others })
		return took
	}
}

// pickerWatch looks at the pickers of a channel for one address.
type pickerWatch struct {
	*counts
	addr   string
	wanted atomic.Bool // whether it is still to be seen
	at     chan time.Time
}

// watchPickers makes a channel whose pickers are looked at.
func watchPickers(b *testing.B, reg *rollcall.Registry, addr string) *pickerWatch {
	b.Helper()
	s := &pickerWatch{counts: newCounts(), addr: addr, at: make(chan time.Time, 1)}
	s.picker = s.look
	counting.Store(s.counts)
	conn, err := grpc.NewClient("rollcall:///svc", grpc.WithResolvers(resolver.NewBuilder(reg)), grpc.WithNoProxy(), grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, countedPrefix+"rollcall")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	conn.Connect()
	return s
}

// look picks a few times with a new picker, to see whether the address is among what it picks.
func (s *pickerWatch) look(state balancer.State) {
	if state.ConnectivityState != connectivity.Ready || !s.wanted.Load() {
		return
	}
	for range 10 {
		picked, err := state.Picker.Pick(balancer.PickInfo{Ctx: context.Background()})
		if err != nil {
			return
		}
		if addr, _ := s.addrs.Load(picked.SubConn); addr == s.addr {
			s.wanted.Store(false)
			s.at <- time.Now()
			return
		}
	}
}

// dialLatency returns a function that puts key n, if it is absent, under a lease, waits for the watch event, and then
// dials the address.
func dialLatency(b *testing.B, addr string, endpoints []string) func(n int) time.Duration {
	writer, reader := client(b, endpoints...), client(b, endpoints...)
	lease, err := writer.Grant(b.Context(), 3600)
	if err != nil {
		b.Fatal(err)
	}
	events := reader.Watch(b.Context(), "raw/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	return func(n int) time.Duration {
		seen := make(chan time.Time, 1)
		go func() {
			<-events
			greetServer(b, addr)
			seen <- time.Now()
		}()
		began := time.Now()
		key := fmt.Sprintf("raw/%d", n)
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

// greetServer connects to a gRPC server, and waits for its first settings.
func greetServer(b *testing.B, addr string) {
	conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(append([]byte(http2Preface), http2Settings...)); err != nil {
		b.Error(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len(http2Settings))); err != nil {
		b.Error(err)
	}
}
