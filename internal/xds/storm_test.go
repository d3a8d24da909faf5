package xds

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/rollcall-io/rollcall"
)

func TestManyClientsThatComeAndGoLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell()
	var clients, changes sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	changes.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			w.tell(view(fmt.Sprint("s", n%5), fmt.Sprintf("10.0.0.%d:1", 1+n%9)))
			_, _ = w.Clients(), w.acknowledged(ctx, "nobody")
		}
	})
	for range 40 {
		clients.Go(func() {
			for range 5 {
				if rand.N(2) == 0 {
					stormWorld(ctx, w)
				} else {
					stormDelta(ctx, w)
				}
			}
		})
	}
	clients.Wait()
	cancel()
	changes.Wait()
	eventually(t, "nothing to be left", func() bool {
		stats := w.Stats()
		return stats.Streams == 0 && stats.Services == 0 && stats.Subscriptions == 0
	})
}

func stormWorld(ctx context.Context, w *world) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel() // in the midst of it
	stream, err := w.client.StreamAggregatedResources(ctx)
	if err != nil {
		return
	}
	for k := range kinds {
		_ = stream.Send(&discovery.DiscoveryRequest{TypeUrl: typeURLs[k], ResourceNames: []string{"s1", fmt.Sprint("s", rand.N(5))}, Node: grpcNode})
	}
	for range rand.N(20) {
		r, err := stream.Recv()
		if err != nil {
			return
		}
		_ = stream.Send(&discovery.DiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResourceNames: []string{fmt.Sprint("s", rand.N(5))}, ResponseNonce: r.GetNonce()})
	}
}

func stormDelta(ctx context.Context, w *world) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stream, err := w.client.DeltaAggregatedResources(ctx)
	if err != nil {
		return
	}
	_ = stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURLs[clusters], Node: envoyNode})
	_ = stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNamesSubscribe: []string{"s0", "s1", "s2"}})
	for range rand.N(20) {
		r, err := stream.Recv()
		if err != nil {
			return
		}
		_ = stream.Send(&discovery.DeltaDiscoveryRequest{
			TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(),
			ResourceNamesUnsubscribe: []string{fmt.Sprint("s", rand.N(5))}, ResourceNamesSubscribe: []string{fmt.Sprint("s", rand.N(5))},
		})
	}
}

func TestTheFirstChangeGoesAtOnceAndABurstIsGathered(t *testing.T) {
	t.Parallel()
	s := newServer(nil, Config{MaxWindow: time.Second})
	defer s.cancel()
	st, err := s.enter(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.exit(st)
	if err := st.world(&discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	change := func(addrs ...string) *rollcall.View {
		v := view("a", addrs...)
		s.take(&rollcall.Overview{Complete: true, Services: []*rollcall.View{v}})
		return v
	}
	change("10.0.0.1:1")
	if ready, _ := s.takeDue(now); len(ready) != 1 {
		t.Error("the first change waits")
	}
	change("10.0.0.2:1")
	last := change("10.0.0.3:1")
	ready, wait := s.takeDue(now)
	if len(ready) != 0 || wait < windowLeast || wait > time.Second {
		t.Errorf("of the next ones %d go at once, the others in %v", len(ready), wait)
	}
	if ready, _ := s.takeDue(now.Add(wait)); ready[s.services["a"]] != last {
		t.Errorf("gathered: %v", ready)
	}
	sv := s.services["a"]
	small, large := s.window(sv, last), s.window(sv, &rollcall.View{Instances: make([]*rollcall.Instance, 10_000)})
	sv.users = 100_000_000
	if huge := s.window(sv, last); small >= large || huge != time.Second {
		t.Errorf("it is gathered for %v of a small service, %v of a large one, %v of one with a hundred million clients", small, large, huge)
	}
	sv.users = 1
}

func TestAChangeDoesNotWaitForANewCluster(t *testing.T) {
	t.Parallel()
	s := newServer(nil, Config{})
	defer s.cancel()
	st, err := s.enter(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.exit(st)
	if err := st.world(&discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.again(s.services["a"], now.Add(introduction))
	s.take(&rollcall.Overview{Complete: true, Services: []*rollcall.View{view("a", "10.0.0.1:1")}})
	if ready, _ := s.takeDue(now.Add(DefaultMaxWindow)); len(ready) != 1 {
		t.Errorf("%d services are to be published", len(ready))
	}
}

func TestAClientThatDoesNotReadHoldsUpNobodyAndIsToldTheNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{MaxWindow: time.Millisecond})
	var members []string
	for n := range 8_000 { // more than a connection takes from a stream that nobody reads
		members = append(members, fmt.Sprintf("10.%d.%d.%d:50051", n>>16, n>>8&255, n&255))
	}
	w.tell(view("a", members...))
	slow, quick := w.open(grpcNode), w.open(grpcNode)
	slow.ask(endpoints, "a")
	quick.ask(endpoints, "a")
	const changes = 10
	var last string
	for n := range changes {
		r := quick.next()
		quick.ack(r, "a")
		last = r.GetVersionInfo()
		if n < changes-1 {
			w.tell(view("a", members[n+1:]...))
		}
	}
	told := 1
	for slow.next().GetVersionInfo() != last {
		told++
	}
	if told > 3 {
		t.Errorf("who did not read is told of %d of %d states", told, changes)
	}
}

func TestLargeAnswersAreDivided(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	var members []string
	for n := range 20_000 {
		members = append(members, fmt.Sprintf("10.%d.%d.%d:50051", n>>16, n>>8&255, n&255))
	}
	w.tell(view("a", members...), view("b", members...), view("c", members...), view("d"))
	c := w.open(grpcNode)
	c.ask(endpoints, "a", "b", "c", "d")
	var got []int
	for total := 0; total < 4; {
		r := c.next()
		total += len(r.GetResources())
		got = append(got, len(r.GetResources()))
	}
	equal(t, "resources in each response", got, []int{1, 1, 2})
}
