//go:build unix

package integration

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

const (
	registrars       = 48                   // callers that register, one call each under way
	heartbeaters     = 16                   // callers that send the heartbeats that are due
	heartbeatsBench  = 5 * time.Second      // what the server asks for at the default TTL
	restBench        = heartbeatsBench      // with everything registered: each instance has one heartbeat in it
	connsBench       = 4                    // unless there are more streams than these may have
	perServiceBench  = 100                  // instances
	registrationsEnv = "ROLLCALL_BENCH_API" // makes this test binary the server: the endpoint of its etcd
)

// BenchmarkRegistrations measures how many registrations a second one server takes over the API, while all that are registered send their
// heartbeats, and what they cost: at the server, which is a process of its own, and at its etcd, which is another, and does not sync its
// writes. The callers are this process, on the same machine, and share its cores. With "session" each instance has a stream of its own, and
// needs no heartbeats.
//
//	go test -run '^$' -bench BenchmarkRegistrations ./internal/integration
func BenchmarkRegistrations(b *testing.B) {
	for _, manner := range []string{"unary", "session"} {
		for _, instances := range []int{1000, 3000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", manner, instances), func(b *testing.B) { benchmarkRegistrations(b, manner == "session", instances) })
		}
	}
}

func benchmarkRegistrations(b *testing.B, sessions bool, instances int) {
	for b.Loop() {
		etcd := etcdtest.StartCluster(b, 1)
		server := startAPIProcess(b, etcd.Endpoints()[0])
		f := newRegistrants(b, server.addr, sessions, instances)
		f.register(b, instances/10) // leases are there, connections stand
		before := server.account(b)
		already := f.heartbeats.Load()
		began := time.Now()
		took := f.register(b, instances)
		rate := float64(len(took)) / time.Since(began).Seconds()
		registered := server.account(b)
		beats := f.heartbeats.Load() - already
		resting := etcdAccount(b, etcd)
		<-time.After(restBench)
		rested, etcdRested := server.account(b), etcdAccount(b, etcd)
		idleBeats := f.heartbeats.Load() - already - beats
		f.leave()
		if n := f.failed.Load(); n > 0 {
			b.Errorf("%d calls failed, the last with %v", n, f.failure.Load())
		}
		perBeat := 0.0
		if idleBeats > 0 {
			perBeat = micro(rested.CPU-registered.After) / float64(idleBeats)
			b.ReportMetric(perBeat, "cpu-µs/heartbeat")
		}
		b.ReportMetric(rate, "regs/s")
		b.ReportMetric(micros(took, 50)/1000, "p50-ms")
		b.ReportMetric(micros(took, 99)/1000, "p99-ms")
		b.ReportMetric((micro(registered.CPU-before.After)-perBeat*float64(beats))/float64(len(took)), "cpu-µs/reg")
		b.ReportMetric(float64(registered.Memory-before.Memory)/float64(len(took))/1024, "KiB/instance")
		b.ReportMetric(float64(idleBeats)/restBench.Seconds(), "heartbeats/s")
		b.ReportMetric((etcdRested.requests-resting.requests)/restBench.Seconds(), "etcd-requests/s")
		b.ReportMetric((etcdRested.cpu-resting.cpu)*1000/restBench.Seconds(), "etcd-cpu-ms/s")
		b.ReportMetric(0, "ns/op")
		server.end()
	}
}

func micro(d time.Duration) float64 { return float64(d.Microseconds()) }

// registrants are programs that register.
type registrants struct {
	conns    []*grpc.ClientConn
	sessions bool
	next     int       // instance to register
	alive    chan beat // heartbeats, by the time when they are due
	wg       sync.WaitGroup
	cancel   context.CancelFunc
	life     context.Context

	heartbeats, failed atomic.Int64
	failure            atomic.Value
}

// beat is a heartbeat that is due at a time.
type beat struct {
	request *rollcallv1.HeartbeatRequest
	at      time.Time
}

func newRegistrants(b *testing.B, addr string, sessions bool, instances int) *registrants {
	b.Helper()
	f := &registrants{sessions: sessions, alive: make(chan beat, instances)}
	f.life, f.cancel = context.WithCancel(b.Context())
	conns := connsBench
	if sessions {
		conns = max(conns, instances/readersPerConn)
	}
	for range conns {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		f.conns = append(f.conns, conn)
	}
	for n := range heartbeaters {
		f.wg.Go(func() { f.beat(rollcallv1.NewRegistrationServiceClient(f.conns[n%len(f.conns)])) })
	}
	b.Cleanup(f.leave)
	return f
}

func (f *registrants) leave() {
	f.cancel()
	f.wg.Wait()
	for _, conn := range f.conns {
		_ = conn.Close()
	}
}

// register registers further instances until there are so many, and returns how long each took.
func (f *registrants) register(b *testing.B, until int) []time.Duration {
	b.Helper()
	first := f.next
	took := make([]time.Duration, until-first)
	next := atomic.Int64{}
	next.Store(int64(first))
	var wg sync.WaitGroup
	for range registrars {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < until; n = int(next.Add(1)) - 1 {
				began := time.Now()
				f.note(f.one(n))
				took[n-first] = time.Since(began)
			}
		})
	}
	wg.Wait()
	f.next = until
	return took
}

// one registers one instance, as a program that is at some place does it.
func (f *registrants) one(n int) error {
	client := rollcallv1.NewRegistrationServiceClient(f.conns[n%len(f.conns)])
	service := fmt.Sprintf("svc-%d", n/perServiceBench)
	req := &rollcallv1.RegisterRequest{Service: service, Instance: &rollcallv1.Instance{
		Addr: fmt.Sprintf("10.%d.%d.%d:8080", n>>16, n>>8&255, n&255), Zone: "a", Version: "v1.2.3", Metadata: map[string]string{"team": "jie"},
	}}
	if f.sessions {
		stream, err := client.Session(f.life)
		if err == nil {
			err = stream.Send(&rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Register{Register: req}})
		}
		if err != nil {
			return err
		}
		resp, err := stream.Recv()
		if err == nil && resp.GetRegistered() == nil {
			err = fmt.Errorf("session: %v", resp)
		}
		return err
	}
	resp, err := client.Register(f.life, req)
	if err != nil {
		return err
	}
	f.alive <- beat{&rollcallv1.HeartbeatRequest{Service: service, Id: resp.GetInstance().GetId(), Token: resp.GetToken()}, time.Now().Add(heartbeatsBench)}
	return nil
}

// beat sends heartbeats when they are due: all have the same interval, so that the first in the queue is the next.
func (f *registrants) beat(client rollcallv1.RegistrationServiceClient) {
	for {
		select {
		case next := <-f.alive:
			select {
			case <-time.After(time.Until(next.at)):
			case <-f.life.Done():
				return
			}
			_, err := client.Heartbeat(f.life, next.request)
			if f.life.Err() != nil {
				return
			}
			f.note(err)
			f.heartbeats.Add(1)
			f.alive <- beat{next.request, next.at.Add(heartbeatsBench)}
		case <-f.life.Done():
			return
		}
	}
}

func (f *registrants) note(err error) {
	if err != nil {
		f.failed.Add(1)
		f.failure.Store(err.Error())
	}
}
