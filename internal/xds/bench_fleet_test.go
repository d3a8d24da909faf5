package xds

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/log"
	peer "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
)

// Here whole servers are compared: this one, and go-control-plane's with both of its caches. All serve the same clients, each of which asks
// for listeners, routes, clusters and endpoints of its services, on streams in memory: a response is encoded as gRPC encodes it, and kept
// until the next change as for a client that is slow to read. Sockets and the clients' own work would cost all of them the same. What the
// streams themselves cost shows one more server, which keeps no account of anybody and sends what was encoded beforehand: net-cpu-ms is
// what a server takes beyond that. N, in a benchmark's name, is how many clients there are.

// estate is what there is: services, and clients of which each watches some.
type estate struct{ services, endpoints, clients, watched int }

func (e estate) names() []string {
	names := make([]string, e.services)
	for n := range names {
		names[n] = fmt.Sprintf("svc-%d", n)
	}
	return names
}

// views are those of all services; in the first, step changes an endpoint.
func (e estate) views() (views []*rollcall.View, step func(n int) *rollcall.View) {
	f := newFleet(e.endpoints)
	for _, service := range e.names() {
		v := f.view(0)
		v.Service = service
		views = append(views, v)
	}
	return views, func(n int) *rollcall.View {
		v := f.view(n)
		v.Service = views[0].Service
		return v
	}
}

// messages are the same as the peers take them: they would have to be made for every change, which is not counted.
func (e estate) messages() (all [kinds][]types.Resource, steps []types.Resource) {
	views, step := e.views()
	for _, v := range views {
		o, n := newOutlook(v.Service, v), name{service: v.Service}
		all[clusters] = append(all[clusters], o.cluster(n))
		all[endpoints] = append(all[endpoints], o.assignment(n, stance{}))
		all[listeners] = append(all[listeners], o.listener())
		all[routes] = append(all[routes], o.route())
	}
	for n := range 8 {
		v := step(n + 1)
		steps = append(steps, newOutlook(v.Service, v).assignment(name{service: v.Service}, stance{}))
	}
	return all, steps
}

// contender is a server that is measured.
type contender struct {
	name   string
	serve  func(discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error
	change func(step int)
	close  func()
	whole  bool // a change is sent to all clients, also to those whom it does not concern
}

func contenders(b *testing.B, e estate) []func() *contender {
	return []func() *contender{
		func() *contender { return bareServer(b, e) },
		func() *contender { return rollcallServer(e) },
		func() *contender { return snapshotServer(b, e) },
		func() *contender { return linearServer(b, e) },
	}
}

// bare is a server that knows of nothing but streams.
type bare struct {
	resources [kinds]map[string]*resource

	mu        sync.Mutex
	concerned map[chan []*resource]struct{} // with a change
}

func bareServer(b *testing.B, e estate) *contender {
	s := &bare{concerned: map[chan []*resource]struct{}{}}
	all, _ := e.messages()
	for k, list := range all {
		s.resources[k] = map[string]*resource{}
		for n, service := range e.names() {
			value, err := proto.Marshal(list[n])
			if err != nil {
				b.Fatal(err)
			}
			s.resources[k][service] = newResource(kind(k), service, value)
		}
	}
	return &contender{name: "bare", serve: s.serve, change: s.change, close: func() {}}
}

func (s *bare) serve(call discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	send := make(chan []*resource, kinds)
	go s.listen(call, send)
	for list := range send {
		r := &response{kind: list[0].kind, version: "1", nonce: "1", resources: list}
		if err := call.SendMsg(r.frame(false)); err != nil {
			return err
		}
	}
	return nil
}

func (s *bare) listen(call discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer, send chan []*resource) {
	defer close(send)
	for r, err := call.Recv(); err == nil; r, err = call.Recv() {
		if r.GetResponseNonce() != "" {
			continue
		}
		k, _ := kindOf(r.GetTypeUrl())
		var list []*resource
		for _, service := range r.GetResourceNames() {
			list = append(list, s.resources[k][service])
		}
		if k == endpoints && slices.Contains(r.GetResourceNames(), "svc-0") {
			s.mu.Lock()
			s.concerned[send] = struct{}{}
			s.mu.Unlock()
		}
		send <- list
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.concerned, send)
}

func (s *bare) change(int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for send := range s.concerned {
		send <- []*resource{s.resources[endpoints]["svc-0"]}
	}
}

func rollcallServer(e estate) *contender {
	s := newServer(nil, Config{MaxWindow: 1}) // no change here is one of a burst
	s.wg.Go(s.publish)
	views, step := e.views()
	s.take(&rollcall.Overview{Complete: true, Services: views})
	return &contender{
		name: "rollcall", serve: s.StreamAggregatedResources, close: s.Close,
		change: func(n int) { s.take(&rollcall.Overview{Services: []*rollcall.View{step(n)}}) },
	}
}

// everyNode has all clients share one snapshot, which is the least that it can cost.
type everyNode struct{ cache.NodeHash }

func (everyNode) ID(*core.Node) string { return "all" }

func snapshotServer(b *testing.B, e estate) *contender {
	ctx, cancel := context.WithCancel(context.Background())
	snapshots := cache.NewSnapshotCache(false, everyNode{}, log.NewDefaultLogger())
	all, steps := e.messages()
	now := &cache.Snapshot{}
	for k, list := range all {
		now.Resources[cache.GetResponseType(typeURLs[k])] = cache.NewResources("0", list)
	}
	set := func(s *cache.Snapshot) {
		if err := snapshots.SetSnapshot(ctx, "all", s); err != nil {
			b.Fatal(err)
		}
	}
	set(now)
	return &contender{
		name: "snapshot", serve: peer.NewServer(ctx, snapshots, nil).StreamAggregatedResources, close: cancel, whole: true,
		change: func(n int) { // with a new version of no more than it must
			next := *now
			items := maps.Clone(now.Resources[types.Endpoint].Items)
			items["svc-0"] = types.ResourceWithTTL{Resource: steps[n%len(steps)]}
			next.Resources[types.Endpoint] = cache.Resources{Version: fmt.Sprint(n), Items: items}
			set(&next)
		},
	}
}

func linearServer(b *testing.B, e estate) *contender {
	ctx, cancel := context.WithCancel(context.Background())
	all, steps := e.messages()
	mux := &cache.MuxCache{Classify: func(r *cache.Request) string { return r.GetTypeUrl() }, Caches: map[string]cache.Cache{}}
	for k, list := range all {
		initial := map[string]types.Resource{}
		for n, service := range e.names() {
			initial[service] = list[n]
		}
		mux.Caches[typeURLs[k]] = cache.NewLinearCache(typeURLs[k], cache.WithLogger(log.NewDefaultLogger()), cache.WithInitialResources(initial))
	}
	linear := mux.Caches[typeURLs[endpoints]].(*cache.LinearCache)
	return &contender{
		name: "linear", serve: peer.NewServer(ctx, mux, nil).StreamAggregatedResources, close: cancel,
		change: func(n int) {
			if err := linear.UpdateResource("svc-0", steps[n%len(steps)]); err != nil {
				b.Error(err)
			}
		},
	}
}

// caller is a client, as the server sees it: it acknowledges whatever it is sent.
type caller struct {
	grpc.ServerStream // of which nothing else is called

	ctx      context.Context
	crowd    *crowd
	services []string
	requests chan *discovery.DiscoveryRequest
	versions [kinds]string     // that it has, and begins its next stream with
	unread   []mem.BufferSlice // that it has been sent
	answered bool              // the server took an acknowledgement, and is about to ask for more
}

func (c *caller) Context() context.Context { return c.ctx }

func (c *caller) Send(r *discovery.DiscoveryResponse) error { return c.SendMsg(r) }

// SendMsg takes a response as gRPC does, and leaves out the network. What it looks at stands before the resources, or beside them.
func (c *caller) SendMsg(m any) error {
	bytes, err := c.crowd.codec.Marshal(m)
	if err != nil {
		return err
	}
	ack := &discovery.DiscoveryRequest{ResourceNames: c.services}
	for b := bytes[0].ReadOnlyData(); len(b) > 0; {
		field, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		text, _ := protowire.ConsumeBytes(b)
		switch field {
		case fieldVersion:
			ack.VersionInfo = string(text)
		case fieldTypeURL:
			ack.TypeUrl = string(text)
		case fieldNonce:
			ack.ResponseNonce = string(text)
		}
		b = b[protowire.ConsumeFieldValue(field, kind, b):]
	}
	k, _ := kindOf(ack.GetTypeUrl())
	c.versions[k] = ack.GetVersionInfo()
	c.unread = append(c.unread, bytes)
	c.crowd.bytes.Add(int64(bytes.Len()) + 5) // and gRPC's own five
	c.requests <- ack
	return nil
}

func (c *caller) Recv() (*discovery.DiscoveryRequest, error) {
	if c.answered {
		c.crowd.count()
	}
	select {
	case r := <-c.requests:
		c.answered = r.GetResponseNonce() != ""
		return r, nil
	case <-c.ctx.Done():
		return nil, io.EOF
	}
}

// crowd is all clients of a server.
type crowd struct {
	b       *testing.B
	server  *contender
	codec   encoding.CodecV2
	callers []*caller
	running sync.WaitGroup
	hangUp  context.CancelFunc
	acked   atomic.Int64
	want    atomic.Int64
	done    chan struct{} // has capacity 1: all that is wanted is there
	bytes   atomic.Int64
}

func newCrowd(b *testing.B, e estate, server *contender) *crowd {
	c := &crowd{b: b, server: server, codec: codecOf(server), done: make(chan struct{}, 1)}
	names := e.names()
	for n := range e.clients {
		caller := &caller{crowd: c}
		for i := range e.watched {
			caller.services = append(caller.services, names[(n*e.watched+i)%len(names)])
		}
		c.callers = append(c.callers, caller)
	}
	return c
}

func codecOf(server *contender) encoding.CodecV2 {
	if server.name == "rollcall" || server.name == "bare" {
		return NewCodec()
	}
	return encoding.GetCodecV2(grpcproto.Name)
}

func (c *crowd) count() {
	if c.acked.Add(1) == c.want.Load() {
		c.done <- struct{}{}
	}
}

// connect has all of them come at once, with what they have, and returns when they have acknowledged what they were told.
func (c *crowd) connect() {
	ctx, cancel := context.WithCancel(context.Background())
	c.hangUp = cancel
	c.expect(len(c.callers) * int(kinds))
	for _, caller := range c.callers {
		caller.ctx, caller.answered, caller.requests = ctx, false, make(chan *discovery.DiscoveryRequest, 4*kinds)
		for k, version := range caller.versions {
			r := &discovery.DiscoveryRequest{TypeUrl: typeURLs[k], ResourceNames: caller.services, VersionInfo: version}
			if k == 0 {
				r.Node = grpcNode
			}
			caller.requests <- r
		}
		c.running.Go(func() { _ = c.server.serve(caller) })
	}
	c.await()
}

func (c *crowd) disconnect() {
	c.hangUp()
	c.running.Wait()
	c.letGo()
}

// expect is called before what will be acknowledged so many times.
func (c *crowd) expect(acks int) {
	c.acked.Store(0)
	c.want.Store(int64(acks))
}

func (c *crowd) await() {
	select {
	case <-c.done:
	case <-time.After(time.Minute):
		c.b.Fatalf("%s: %d acknowledgements of %d", c.server.name, c.acked.Load(), c.want.Load())
	}
}

// letGo has all have read what they were sent.
func (c *crowd) letGo() {
	for _, caller := range c.callers {
		caller.unread = free(caller.unread)
	}
}

// concerned is how many of them are sent a change.
func (c *crowd) concerned() (n int) {
	for _, caller := range c.callers {
		if c.server.whole || slices.Contains(caller.services, "svc-0") {
			n++
		}
	}
	return n
}

// cost is what something cost.
type cost struct {
	cpu, last             time.Duration // last: until the last acknowledgement
	wire, allocated, held float64       // in bytes; held: while nobody has read anything
}

// How often something is measured in a row: more than once, if it is not slow, and not more than is of use.
const (
	fewest, most = 2, 20
	enough       = 150 * time.Millisecond
)

// measure does something a few times, and returns what each cost.
func (c *crowd) measure(do, undo func()) (all []cost) {
	var before, after runtime.MemStats
	for spent := time.Duration(0); len(all) == 0 || spent < enough && len(all) < most || spent < 2*enough && len(all) < fewest; {
		undo()
		runtime.ReadMemStats(&before)
		bytes, cpu, began := c.bytes.Load(), cpuTime(c.b), time.Now()
		do()
		one := cost{last: time.Since(began), cpu: cpuTime(c.b) - cpu, wire: float64(c.bytes.Load() - bytes)}
		runtime.ReadMemStats(&after)
		one.allocated = float64(after.TotalAlloc - before.TotalAlloc)
		all, spent = append(all, one), spent+one.last
	}
	held := c.held()
	for n := range all {
		all[n].held = held
	}
	return all
}

func (c *crowd) held() float64 {
	var before, after runtime.MemStats
	for _, m := range []*runtime.MemStats{&before, &after} {
		runtime.GC()
		runtime.GC() // what pools keep goes with the second
		runtime.ReadMemStats(m)
		c.letGo()
	}
	return max(0, float64(before.HeapAlloc)-float64(after.HeapAlloc))
}

// quantities are what is reported of costs: of the CPU and what is allocated the mean, since garbage is not collected each time. What is sent and
// what is held, the last two, is seen only without sockets.
var quantities = []struct {
	name string
	of   func([]cost) float64
}{
	{"cpu-ms", func(all []cost) float64 { return mean(all, func(c cost) float64 { return float64(c.cpu) / 1e6 }) }},
	{"ack-ms", func(all []cost) float64 { return median(all, func(c cost) float64 { return float64(c.last) / 1e6 }) }},
	{"alloc-MB", func(all []cost) float64 { return mean(all, func(c cost) float64 { return c.allocated / 1e6 }) }},
	{"wire-MB", func(all []cost) float64 { return median(all, func(c cost) float64 { return c.wire / 1e6 }) }},
	{"held-MB", func(all []cost) float64 { return median(all, func(c cost) float64 { return c.held / 1e6 }) }},
}

func mean(all []cost, of func(cost) float64) (sum float64) {
	for _, c := range all {
		sum += of(c) / float64(len(all))
	}
	return sum
}

func median(all []cost, of func(cost) float64) float64 {
	var list []float64
	for _, c := range all {
		list = append(list, of(c))
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// compare measures all contenders, one beside the other.
func compare(b *testing.B, e estate, measure func(*crowd) []cost) {
	b.Run(fmt.Sprintf("N=%d", e.clients), func(b *testing.B) {
		compareCosts(b, e, len(quantities), func(b *testing.B, server *contender) []cost {
			c := newCrowd(b, e, server)
			c.connect()
			defer c.disconnect()
			return measure(c)
		})
	})
}

// compareCosts has one contender at a time, so that none pays for the memory of the others. Who is first is left to chance.
func compareCosts(b *testing.B, e estate, quantity int, measure func(*testing.B, *contender) []cost) {
	all := map[string][]cost{}
	for b.Loop() {
		list := contenders(b, e)
		for _, n := range rand.Perm(len(list)) {
			server := list[n]()
			all[server.name] = append(all[server.name], measure(b, server)...)
			server.close()
		}
	}
	for name := range all {
		for _, q := range quantities[:quantity] {
			b.ReportMetric(q.of(all[name]), name+"-"+q.name)
		}
		if cpu := quantities[0]; name != "bare" {
			b.ReportMetric(cpu.of(all[name])-cpu.of(all["bare"]), name+"-net-"+cpu.name)
		}
	}
	b.ReportMetric(0, "ns/op") // which counts what is done in between
}

func measureChange(c *crowd) []cost {
	step, acks := 0, c.concerned()
	return c.measure(func() {
		step++
		c.expect(acks)
		c.server.change(step)
		c.await()
	}, c.letGo)
}

// longEnv asks for what takes minutes, too.
const longEnv = "ROLLCALL_BENCH_LONG"

// sizesUpTo returns the sizes: with -short those up to a limit, without longEnv those up to another.
func sizesUpTo(short, usual int, sizes ...int) (list []int) {
	limit := usual
	switch {
	case testing.Short():
		limit = short
	case os.Getenv(longEnv) != "":
		limit = math.MaxInt
	}
	for _, n := range sizes {
		if n <= limit {
			list = append(list, n)
		}
	}
	return list
}

// BenchmarkChangeOfOneService is one endpoint's change, in a service that everybody watches. N is the clients.
func BenchmarkChangeOfOneService(b *testing.B) {
	for _, clients := range sizesUpTo(100, 1000, 100, 300, 1000, 5000) {
		compare(b, estate{services: 1, endpoints: 1000, clients: clients, watched: 1}, measureChange)
	}
}

// BenchmarkChangeAmongServices is one endpoint's change, in one of many services, of which there are a tenth as many as clients: each client
// watches three.
func BenchmarkChangeAmongServices(b *testing.B) {
	for _, clients := range sizesUpTo(100, 1000, 100, 300, 1000, 3000) {
		compare(b, estate{services: clients / 10, endpoints: 100, clients: clients, watched: 3}, measureChange)
	}
}

// BenchmarkReconnection is all clients coming back at once, with the versions that they have. The state of the world is sent again to each.
func BenchmarkReconnection(b *testing.B) {
	for _, clients := range sizesUpTo(100, 1000, 100, 300, 1000, 5000) {
		compare(b, estate{services: 100, endpoints: 100, clients: clients, watched: 3}, func(c *crowd) []cost {
			return c.measure(c.connect, c.disconnect)
		})
	}
}
