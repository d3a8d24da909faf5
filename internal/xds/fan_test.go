package xds

import (
	"runtime"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/rollcall-io/rollcall"
)

func TestAChangeIsEncodedOnceForAllClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.1:1"))
	var list []*worldClient
	for _, zone := range []string{"", "z1", "z2", "z1"} { // zones that nobody is in do not matter
		for range 5 {
			c := w.open(&core.Node{Id: "caller", UserAgentName: "gRPC Go", Locality: &core.Locality{Zone: zone}})
			for k := range kinds {
				c.ask(k, "a")
				c.ack(c.next(), "a")
			}
			list = append(list, c)
		}
	}
	before := w.Stats()
	w.tell(view("a", "10.0.0.2:1"), view("b", "10.0.0.2:1"))
	for _, c := range list {
		if r := c.next(); r.GetTypeUrl() != typeURLs[endpoints] {
			t.Errorf("an instance that came is told by %v", r)
		}
	}
	if n := w.Stats().Encodings - before.Encodings; n != 1 {
		t.Errorf("%d encodings of one change for %d clients", n, len(list))
	}
}

// It counts what is allocated, which no other test may do meanwhile.
func TestAChangeCostsLittleForEachClient(t *testing.T) {
	const clients, mostAllocs, mostBytes = 200, 11, 500
	s := newServer(nil, Config{})
	defer s.cancel()
	f := newFleet(10)
	s.take(&rollcall.Overview{Complete: true, Services: []*rollcall.View{f.view(0)}})
	var streams []*stream
	for range clients {
		st, err := s.enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.exit(st)
		if err := st.world(&discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"svc"}, Node: grpcNode}); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, st)
	}
	ack := &discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"svc"}}
	step := 0
	tell := func() {
		step++
		s.services["svc"].publish(f.view(step), time.Now())
		for _, st := range streams {
			<-st.wake
			list := st.collect()
			if len(list) != 1 || list[0].frame(false).bytes.Len() == 0 {
				t.Fatalf("%d responses to a change", len(list))
			}
			ack.ResponseNonce, ack.VersionInfo = list[0].nonce, list[0].version
			if err := st.world(ack); err != nil {
				t.Fatal(err)
			}
			if len(st.wake) > 0 {
				t.Fatal("an acknowledgement wakes the stream, for nothing")
			}
		}
	}
	tell()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tell()
	runtime.ReadMemStats(&after)
	allocs, bytes := (after.Mallocs-before.Mallocs)/clients, (after.TotalAlloc-before.TotalAlloc)/clients
	if allocs > mostAllocs || bytes > mostBytes {
		t.Errorf("a change takes %d allocations and %d bytes for each client, above %d and %d", allocs, bytes, mostAllocs, mostBytes)
	}
}

func TestWhatIsTheSameToClientsIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	v := view("a", "10.0.0.1:1")
	w.tell(v)
	c := w.open(grpcNode)
	c.ask(endpoints, "a")
	c.ack(c.next(), "a")
	other := w.open(&core.Node{Id: "other", UserAgentName: "gRPC Go", Locality: &core.Locality{Zone: "z"}})
	other.ask(endpoints, "a")
	other.ack(other.next(), "a")
	again := view("a", "10.0.0.1:1")
	again.Instances[0].Revision = 99 // put again
	again.Instances[0].Metadata = map[string]string{"load": "7"}
	sent := w.Stats().Encodings
	w.tell(again)
	eventually(t, "another look", func() bool { return w.Stats().Encodings > sent })
	c.quiet()
	other.quiet()
}

func TestAFrameIsTheMessageThatItStandsFor(t *testing.T) {
	t.Parallel()
	o := newOutlook("a", view("a", "10.0.0.1:1"))
	first := newResource(endpoints, "a", appendAssignment(nil, "a", o.arrange(name{service: "a"}, stance{})))
	second := newResource(endpoints, "b", appendAssignment(nil, "b", o.arrange(name{service: "b"}, stance{})))
	r := response{kind: endpoints, version: "v", nonce: "7", resources: []*resource{first, second}, missing: []string{"-"}}
	for _, delta := range []bool{false, true} {
		f := r.frame(delta)
		text, err := proto.Marshal(f) // as a codec does that knows nothing of frames
		if err != nil {
			t.Fatal(err)
		}
		if delta {
			m := &discovery.DeltaDiscoveryResponse{}
			if err := proto.Unmarshal(text, m); err != nil {
				t.Fatal(err)
			}
			equal(t, "names", names(m), []string{"a", "b"})
			if m.GetNonce() != "7" || m.GetSystemVersionInfo() != "v" || m.GetTypeUrl() != typeURLs[endpoints] || m.GetResources()[0].GetVersion() != first.version {
				t.Errorf("%v", m)
			}
			continue
		}
		m := &discovery.DiscoveryResponse{}
		if err := proto.Unmarshal(text, m); err != nil {
			t.Fatal(err)
		}
		equal(t, "members", addrs(t, m), []string{"a: 10.0.0.1:1", "b: 10.0.0.1:1"})
		if m.GetNonce() != "7" || m.GetVersionInfo() != "v" || m.GetTypeUrl() != typeURLs[endpoints] {
			t.Errorf("%v", m)
		}
	}
}
