package xds

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/log"
	stream3 "github.com/envoyproxy/go-control-plane/pkg/server/stream/v3"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/rollcall-io/rollcall"
)

// fleet is a service of so many instances, of which one changes with each step.
type fleet struct {
	instances []*rollcall.Instance
	messages  []*endpoint.ClusterLoadAssignment
}

func newFleet(size int) *fleet {
	f := &fleet{}
	for n := range size {
		i := instance(fmt.Sprintf("10.%d.%d.%d:50051", n>>16, n>>8&255, n&255), 1)
		i.ID = fmt.Sprintf("%06d", n)
		f.instances = append(f.instances, i)
	}
	return f
}

func (f *fleet) view(step int) *rollcall.View {
	n := step / 2 % len(f.instances)
	f.instances = slices.Clone(f.instances)
	i := f.instances[n].Clone()
	i.Revision++
	i.State = []rollcall.State{rollcall.StateDraining, rollcall.StateServing}[step%2]
	f.instances[n] = i
	return &rollcall.View{Service: "svc", Revision: int64(step + 1), Instances: f.instances}
}

// message is a view as the peer takes it. Making it is not the peer's cost: it is made before.
func (f *fleet) message(step int) *endpoint.ClusterLoadAssignment {
	if f.messages == nil {
		for step := range 8 {
			f.messages = append(f.messages, newOutlook("svc", f.view(step)).assignment(name{service: "svc"}, stance{}))
		}
	}
	return f.messages[step%len(f.messages)]
}

// meter measures what a benchmark costs beside its time.
type meter struct {
	b     *testing.B
	cpu   time.Duration
	alloc runtime.MemStats
}

func startMeter(b *testing.B) *meter {
	m := &meter{b: b}
	runtime.GC()
	runtime.ReadMemStats(&m.alloc)
	m.cpu = cpuTime(b)
	return m
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (m *meter) stop(changes int) {
	cpu := cpuTime(m.b) - m.cpu
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	m.b.ReportMetric(float64(cpu.Microseconds())/1000/float64(changes), "cpu-ms/change")
	m.b.ReportMetric(float64(after.TotalAlloc-m.alloc.TotalAlloc)/1e6/float64(changes), "MB/change")
	m.b.ReportMetric(float64(after.Mallocs-m.alloc.Mallocs)/float64(changes), "allocs/change")
}

// sizes are those of the fleet and of its clients.
var sizes = []struct{ clients, endpoints int }{{100, 1000}, {1000, 100}, {1000, 1000}}

// BenchmarkEncodingAChange is what a change costs until the bytes for every client are there, without a network.
func BenchmarkEncodingAChange(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("clients=%d/endpoints=%d/rollcall", size.clients, size.endpoints), func(b *testing.B) { encodeOurs(b, size.clients, size.endpoints) })
		b.Run(fmt.Sprintf("clients=%d/endpoints=%d/linear", size.clients, size.endpoints), func(b *testing.B) { encodeLinear(b, size.clients, size.endpoints) })
	}
}

func encodeOurs(b *testing.B, clients, size int) {
	s := newServer(nil, Config{})
	defer s.cancel()
	f := newFleet(size)
	s.take(&rollcall.Overview{Complete: true, Services: []*rollcall.View{f.view(0)}})
	codec := NewCodec()
	var streams []*stream
	for range clients {
		st, err := s.enter(b.Context(), false)
		if err != nil {
			b.Fatal(err)
		}
		defer s.exit(st)
		if err := st.world(&discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"svc"}, Node: grpcNode}); err != nil {
			b.Fatal(err)
		}
		streams = append(streams, st)
	}
	sv, step := s.services["svc"], 0
	var waiting []mem.BufferSlice // for the network, as to clients that are slow
	change := func() {
		step++
		waiting = free(waiting)
		sv.publish(f.view(step), time.Now())
		for _, st := range streams {
			for _, r := range st.collect() {
				bytes, err := codec.Marshal(r.frame(false))
				if err != nil || bytes.Len() == 0 {
					b.Fatal(err)
				}
				waiting = append(waiting, bytes)
				ack := &discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"svc"}, ResponseNonce: r.nonce, VersionInfo: r.version}
				if err := st.world(ack); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	change()
	m := startMeter(b)
	for b.Loop() {
		change()
	}
	m.stop(b.N)
	reportHeld(b, func() { waiting = free(waiting) })
}

func free(list []mem.BufferSlice) []mem.BufferSlice {
	for _, bytes := range list {
		bytes.Free()
	}
	clear(list)
	return list[:0]
}

// reportHeld reports the memory that is held until it is let go.
func reportHeld(b *testing.B, letGo func()) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	runtime.ReadMemStats(&before)
	letGo()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric((float64(before.HeapAlloc)-float64(after.HeapAlloc))/1e6, "MB-held")
}

func encodeLinear(b *testing.B, clients, size int) {
	linear := cache.NewLinearCache(typeURLs[endpoints], cache.WithLogger(log.NewDefaultLogger()))
	codec := encoding.GetCodecV2(grpcproto.Name)
	responses := make(chan cache.Response, clients)
	subs := make([]stream3.Subscription, clients)
	watch := func(n int, version string) {
		req := &discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"svc"}, VersionInfo: version, Node: grpcNode}
		if _, err := linear.CreateWatch(req, subs[n], responses); err != nil {
			b.Fatal(err)
		}
	}
	f, step := newFleet(size), 0
	var waiting []mem.BufferSlice
	change := func() {
		step++
		waiting = free(waiting)
		if err := linear.UpdateResource("svc", f.message(step)); err != nil {
			b.Fatal(err)
		}
		for n := range clients {
			r := <-responses
			out, err := r.GetDiscoveryResponse()
			if err != nil {
				b.Fatal(err)
			}
			out.Nonce = fmt.Sprint(step)
			bytes, err := codec.Marshal(out)
			if err != nil {
				b.Fatal(err)
			}
			waiting = append(waiting, bytes)
			subs[n].SetReturnedResources(r.GetReturnedResources())
			watch(n, out.GetVersionInfo())
		}
	}
	for n := range clients {
		subs[n] = stream3.NewSotwSubscription([]string{"svc"}, false)
		watch(n, "")
	}
	change()
	m := startMeter(b)
	for b.Loop() {
		change()
	}
	m.stop(b.N)
	reportHeld(b, func() { waiting = free(waiting) })
}
