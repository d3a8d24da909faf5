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

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// encoder makes a server's messages of a change for all of its clients.
type encoder struct {
	name   string
	change func()
	letGo  func() // of what was made
	close  func()
}

// BenchmarkEncodingAChange is what a change of one of 1,000 endpoints costs until the bytes for every client are there, without a network. N is
// the clients.
func BenchmarkEncodingAChange(b *testing.B) {
	for _, clients := range sizesUpTo(300, 1000, 100, 300, 1000) {
		b.Run(fmt.Sprintf("N=%d", clients), func(b *testing.B) {
			all := map[string]*encodingCost{}
			for b.Loop() {
				for _, open := range []func() *encoder{
					func() *encoder { return encodeOurs(b, clients, 1000) },
					func() *encoder { return encodeLinear(b, clients, 1000) },
				} {
					e := open()
					if all[e.name] == nil {
						all[e.name] = &encodingCost{}
					}
					all[e.name].add(b, e)
					e.close()
				}
			}
			for name, c := range all {
				c.report(b, name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// encodingCost is what changes have cost.
type encodingCost struct {
	changes                  int
	cpu                      time.Duration
	allocated, allocs, holds uint64
}

func (c *encodingCost) add(b *testing.B, e *encoder) {
	const changes = 10
	e.change()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu := cpuTime(b)
	for range changes {
		e.change()
	}
	c.cpu += cpuTime(b) - cpu
	runtime.ReadMemStats(&after)
	c.changes += changes
	c.allocated, c.allocs = c.allocated+after.TotalAlloc-before.TotalAlloc, c.allocs+after.Mallocs-before.Mallocs
	c.holds = heldBy(e.letGo)
}

func (c *encodingCost) report(b *testing.B, name string) {
	n := float64(c.changes)
	b.ReportMetric(float64(c.cpu)/1e6/n, name+"-cpu-ms")
	b.ReportMetric(float64(c.allocated)/1e6/n, name+"-alloc-MB")
	b.ReportMetric(float64(c.allocs)/n, name+"-allocs")
	b.ReportMetric(float64(c.holds)/1e6, name+"-held-MB")
}

// heldBy returns the memory that is held until it is let go.
func heldBy(letGo func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	runtime.ReadMemStats(&before)
	letGo()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return before.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
}

func encodeOurs(b *testing.B, clients, size int) *encoder {
	s := newServer(nil, Config{})
	f := newFleet(size)
	s.take(&rollcall.Overview{Complete: true, Services: []*rollcall.View{f.view(0)}})
	codec := NewCodec()
	var streams []*stream
	for range clients {
		st, err := s.enter(b.Context(), false)
		if err != nil {
			b.Fatal(err)
		}
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
	return &encoder{name: "rollcall", change: change, letGo: func() { waiting = free(waiting) }, close: func() {
		for _, st := range streams {
			s.exit(st)
		}
		s.cancel()
	}}
}

func free(list []mem.BufferSlice) []mem.BufferSlice {
	for _, bytes := range list {
		bytes.Free()
	}
	clear(list)
	return list[:0]
}

func encodeLinear(b *testing.B, clients, size int) *encoder {
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
	return &encoder{name: "linear", change: change, letGo: func() { waiting = free(waiting) }, close: func() {}}
}
