package xds

import (
	"context"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
)

// FuzzRequests sends a server whatever can be read as requests, and holds it to what it promises of every stream: its limits, nothing
// that a client would refuse, and nothing left behind. The input is a list of requests, each with two bytes of length before it.
func FuzzRequests(f *testing.F) {
	add := func(delta bool, requests ...proto.Message) {
		var text []byte
		for _, r := range requests {
			b, err := proto.Marshal(r)
			if err != nil {
				f.Fatal(err)
			}
			text = append(append(text, byte(len(b)>>8), byte(len(b))), b...)
		}
		f.Add(delta, text)
	}
	long := strings.Repeat("x", 3000)
	for _, u := range typeURLs {
		add(false,
			&discovery.DiscoveryRequest{TypeUrl: u, ResourceNames: []string{"svc", "svc", "other", "*", "", "svc?version=v2", long, "a/b", "\u202e"}, Node: grpcNode},
			&discovery.DiscoveryRequest{TypeUrl: u, ResourceNames: []string{"svc"}, ResponseNonce: "1", VersionInfo: "x"},
			&discovery.DiscoveryRequest{TypeUrl: u, ResponseNonce: "99999999999999999999", ErrorDetail: &status.Status{Message: long}},
			&discovery.DiscoveryRequest{TypeUrl: u, ResponseNonce: "1", ErrorDetail: &status.Status{Message: long}},
			&discovery.DiscoveryRequest{TypeUrl: u})
		add(true,
			&discovery.DeltaDiscoveryRequest{TypeUrl: u, ResourceNamesSubscribe: []string{"svc", "*", long, "svc"}, Node: &core.Node{Id: long, UserAgentName: "envoy", Locality: &core.Locality{Zone: long}}},
			&discovery.DeltaDiscoveryRequest{TypeUrl: u, ResponseNonce: "1", ResourceNamesUnsubscribe: []string{"svc", "*", "nobody"}},
			&discovery.DeltaDiscoveryRequest{TypeUrl: u, ResourceNamesSubscribe: []string{"svc"}, InitialResourceVersions: map[string]string{"svc": "x", "": ""}})
	}
	add(false, &discovery.DiscoveryRequest{TypeUrl: "nothing"})
	f.Fuzz(func(t *testing.T, delta bool, text []byte) {
		s := newServer(nil, Config{MaxSubscriptions: 8}) // no goroutines: the same requests always do the same
		defer s.cancel()
		v := view("svc", "10.0.0.1:1", "10.0.0.2:1")
		s.take(&rollcall.Overview{Complete: true, Services: []*rollcall.View{v, view("more", "10.0.0.3:1")}})
		st, err := s.enter(context.Background(), delta)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; len(text) > 2; n++ {
			size := min(int(text[0])<<8|int(text[1]), len(text)-2)
			if err := st.take(text[2 : 2+size]); err != nil {
				break
			}
			text = text[2+size:]
			checkStream(t, st)
			s.take(&rollcall.Overview{Services: []*rollcall.View{view("svc", "10.0.0.1:1", "10.0.0.2:"+string(rune('1'+n%9)))}})
			if sv := s.services["svc"]; sv != nil {
				sv.publish(s.views["svc"], sv.published)
			}
			checkStream(t, st)
		}
		s.exit(st)
		if stats := s.Stats(); stats.Services > 0 || stats.Streams > 0 || stats.Subscriptions != 0 {
			t.Fatalf("left behind: %+v", stats)
		}
	})
}

// take handles a request as it came, if it is one.
func (st *stream) take(text []byte) error {
	if st.delta {
		r := &discovery.DeltaDiscoveryRequest{}
		if proto.Unmarshal(text, r) != nil {
			return nil
		}
		return st.changes(r)
	}
	r := &discovery.DiscoveryRequest{}
	if proto.Unmarshal(text, r) != nil {
		return nil
	}
	return st.world(r)
}

func checkStream(t *testing.T, st *stream) {
	t.Helper()
	nonces := map[string]bool{}
	for _, r := range st.collect() {
		if id := typeURLs[r.kind] + r.nonce; nonces[id] || r.nonce == "" {
			t.Fatalf("the nonce %q twice", r.nonce)
		} else {
			nonces[id] = true
		}
		m := proto.Clone(r.frame(st.delta)) // which reads what it was written as
		if _, err := proto.Marshal(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range st.types {
		if w == nil {
			continue
		}
		asked := 0
		for _, sub := range w.subs {
			if !sub.implied {
				asked++
			}
		}
		if w.asked != asked || asked > st.s.cfg.MaxSubscriptions || len(w.outstanding) > maxOutstanding {
			t.Fatalf("%d names, counted as %d, %d responses outstanding", asked, w.asked, len(w.outstanding))
		}
		if w.refusal != nil && len(w.refusal.Detail) > maxDetail {
			t.Fatalf("%d bytes of a refusal are kept", len(w.refusal.Detail))
		}
	}
	if c := st.client(); len(c.ID) > maxNodeText || len(c.Zone) > maxNodeText {
		t.Fatalf("a client with an id of %d bytes", len(c.ID))
	}
}
