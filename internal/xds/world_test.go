package xds

import (
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func TestANameThatNobodyRegisteredIsAnsweredAtOnceAndItsFirstInstanceIsPushed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell()
	c := w.open(grpcNode)
	for _, k := range []kind{listeners, routes, clusters} {
		c.ask(k, "s")
		if r := c.next(); r.GetTypeUrl() != typeURLs[k] || len(r.GetResources()) != 1 {
			t.Fatalf("the answer to a %s: %v", typeURLs[k], r)
		}
	}
	c.ask(endpoints, "s")
	r := c.next()
	equal(t, "of an unknown service", addrs(t, r), []string{"s:"})
	c.ack(r, "s")
	w.tell(view("s", "10.0.0.1:1"))
	equal(t, "the first instance", addrs(t, c.next()), []string{"s: 10.0.0.1:1"})
}

func TestNothingIsAnsweredBeforeItIsKnownWhoIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	c := w.open(grpcNode)
	c.ask(endpoints, "s")
	eventually(t, "the question", func() bool { return w.Stats().Subscriptions == 1 })
	w.tell(view("s", "10.0.0.1:1"))
	equal(t, "the first answer", addrs(t, c.next()), []string{"s: 10.0.0.1:1"})
}

func TestClustersAreNotSentBeforeAllOfThemAreKnown(t *testing.T) {
	t.Parallel()
	s := newServer(nil, Config{})
	defer s.cancel()
	st, err := s.enter(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.exit(st)
	if err := st.world(&discovery.DiscoveryRequest{TypeUrl: typeURLs[clusters], ResourceNames: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	s.take(&rollcall.Overview{Complete: true, Services: []*rollcall.View{view("a", "10.0.0.1:1")}})
	s.services["a"].publish(s.views["a"], time.Now())
	if len(st.collect()) != 0 {
		t.Fatal("one of two clusters is sent: to the client, the other one is gone")
	}
	s.services["b"].publish(s.views["b"], time.Now())
	if r := st.collect(); len(r) != 1 || len(r[0].resources) != 2 {
		t.Fatalf("%v", r)
	}
}

func TestAServiceThatIsEmptyForAMomentIsNotWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("s", "10.0.0.1:1"))
	c := w.open(grpcNode)
	c.ask(clusters, "s", "other")
	r := c.next()
	c.ack(r, "s", "other")
	w.tell(&rollcall.View{Service: "s"})
	c.ask(listeners, "s")
	if r := c.next(); r.GetTypeUrl() != typeURLs[listeners] {
		t.Errorf("the cluster of an empty service is sent again: %v", r)
	}
}

func TestOnlyWhatChangedIsSentOfEndpointsAndAllOfClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.2:1"))
	c := w.open(grpcNode)
	c.ask(endpoints, "a", "b")
	r := c.next()
	equal(t, "at first", addrs(t, r), []string{"a: 10.0.0.1:1", "b: 10.0.0.2:1"})
	c.ack(r, "a", "b")
	c.ask(clusters, "a", "b")
	all := c.next()
	c.ack(all, "a", "b")
	v := view("b", "10.0.0.3:1")
	v.Policy = &rollcall.Policy{Balancer: "round_robin", Revision: 7}
	w.tell(v)
	changed := c.next()
	if changed.GetTypeUrl() != typeURLs[clusters] || len(changed.GetResources()) != 2 || changed.GetVersionInfo() == all.GetVersionInfo() {
		t.Errorf("clusters come first, and all of them: %v", changed)
	}
	equal(t, "after a change of b", addrs(t, c.next()), []string{"b: 10.0.0.3:1"})
}

func TestAnAcknowledgementThatAsksForMoreIsAnsweredWithThat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.2:1"))
	c := w.open(grpcNode)
	c.ask(endpoints, "a")
	first := c.next()
	c.ack(first, "a", "b")
	second := c.next()
	equal(t, "one more", addrs(t, second), []string{"b: 10.0.0.2:1"})
	c.ack(second, "b")
	c.quiet()
	w.tell(view("a", "10.0.0.9:1"))
	c.ack(second, "b", "a")
	equal(t, "asked for again", addrs(t, c.next()), []string{"a: 10.0.0.9:1"})
}

func TestARequestFromBeforeTheLastResponseChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	c := w.open(grpcNode)
	c.ask(endpoints, "a")
	first := c.next()
	w.tell(view("a", "10.0.0.2:1"))
	second := c.next()
	c.ack(first) // which would say: no names any more
	c.ack(second, "a")
	c.quiet()
	w.tell(view("a", "10.0.0.3:1"))
	equal(t, "after a stale request", addrs(t, c.next()), []string{"a: 10.0.0.3:1"})
}

func TestASecondFirstRequestIsAnsweredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	c := w.open(grpcNode)
	c.ask(endpoints, "a")
	first := c.next()
	c.ask(endpoints, "a")
	again := c.next()
	equal(t, "the second answer", addrs(t, again), []string{"a: 10.0.0.1:1"})
	if again.GetNonce() == first.GetNonce() {
		t.Errorf("two responses have the nonce %s", again.GetNonce())
	}
}

func TestARequestWithTheNonceOfAFormerStreamIsAFirstOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	c := w.open(grpcNode)
	c.ack(&discovery.DiscoveryResponse{TypeUrl: typeURLs[endpoints], Nonce: "17", VersionInfo: "x"}, "a")
	equal(t, "the answer", addrs(t, c.next()), []string{"a: 10.0.0.1:1"})
}

func TestANameThatNoServiceCanHaveIsAnsweredWithAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell()
	c := w.open(grpcNode)
	c.ask(listeners, "no/such name")
	r := c.next()
	if len(r.GetResources()) != 0 || len(r.GetResourceErrors()) != 1 || r.GetResourceErrors()[0].GetResourceName().GetName() != "no/such name" {
		t.Errorf("%v", r)
	}
}

func TestOnlyEnvoyGetsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.2:1"))
	for _, node := range []*core.Node{grpcNode, {Id: "unknown"}} {
		c := w.open(node)
		c.ask(clusters)
		if r := c.next(); len(r.GetResources()) != 0 {
			t.Errorf("%s gets %d clusters that it did not name", node.GetId(), len(r.GetResources()))
		}
	}
	c := w.open(envoyNode)
	c.ask(clusters)
	r := c.next()
	for len(r.GetResources()) == 0 {
		r = c.next()
	}
	equal(t, "all clusters", clusterNames(t, r), []string{"a", "b"})
	c.ack(r)
	w.tell(view("c", "10.0.0.3:1"))
	r = c.next()
	equal(t, "one more", clusterNames(t, r), []string{"a", "b", "c"})
	c.ack(r)
	w.tell(&rollcall.View{Service: "b"})
	c.ask(listeners)
	if r := c.next(); r.GetTypeUrl() != typeURLs[listeners] || len(r.GetResources()) != 0 {
		t.Errorf("the answer to all listeners: %v", r)
	}
}

func clusterNames(t testing.TB, r *discovery.DiscoveryResponse) []string {
	t.Helper()
	var list []string
	for _, a := range r.GetResources() {
		m := &cluster.Cluster{}
		if err := a.UnmarshalTo(m); err != nil {
			t.Fatal(err)
		}
		list = append(list, m.GetName())
	}
	return list
}

func TestEnvoyGetsTheEndpointsOfAClusterThatChangedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	c := w.open(envoyNode)
	c.ask(clusters, "a")
	c.ack(c.next(), "a")
	c.ask(endpoints, "a")
	c.ack(c.next(), "a")
	v := view("a", "10.0.0.1:1")
	v.Policy = &rollcall.Policy{Balancing: rollcall.Balancing{Pick: rollcall.LeastRequest}, Revision: 3}
	w.tell(v)
	if r := c.next(); r.GetTypeUrl() != typeURLs[clusters] {
		t.Fatalf("first %v", r)
	}
	equal(t, "then the endpoints", addrs(t, c.next()), []string{"a: 10.0.0.1:1"})
}

func TestTheSameContentHasTheSameVersionOnEveryServer(t *testing.T) {
	t.Parallel()
	var versions [2][kinds]string
	for n := range versions {
		w := newWorld(t, Config{})
		if n == 1 { // it has come to it by another way
			w.tell(view("a", "10.0.0.7:1"))
			w.revision = 40
		}
		w.tell(view("a", "10.0.0.1:1", "10.0.0.2:1"))
		c := w.open(grpcNode)
		for k := range kinds {
			c.ask(k, "a")
			r := c.next()
			if k == endpoints && len(addrs(t, r)[0]) < len("a: 10.0.0.1:1 10.0.0.2:1") {
				c.ack(r, "a")
				r = c.next()
			}
			versions[n][k] = r.GetVersionInfo()
		}
	}
	equal(t, "versions", versions[1], versions[0])
}
