package xds

import (
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

func TestAChangeIsEncodedOnceForAllClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.1:1"))
	var list []*worldClient
	for _, zone := range []string{"", "z1", "z2", "z1"} { // zones that nobody is in do not matter
		for range 5 {
			c := w.open(&core.Node{Id: "caller", UserAgentName: "gRPC Go", Locality: &core.Locality{Zone: zone}})
			c.ask(endpoints, "a")
			c.ack(c.next(), "a")
			list = append(list, c)
		}
	}
	before := w.Stats()
	w.tell(view("a", "10.0.0.2:1"), view("b", "10.0.0.2:1"))
	for _, c := range list {
		c.next()
	}
	if n := w.Stats().Encodings - before.Encodings; n != 1 {
		t.Errorf("%d encodings of one change for %d clients", n, len(list))
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
