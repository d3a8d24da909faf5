package xds

import (
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/rollcall-io/rollcall"
)

func TestDeltaClientsAreToldWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.2:1"))
	c := w.openDelta(envoyNode)
	c.subscribe(endpoints, "a", "b", "nobody")
	r := c.next()
	equal(t, "at first", names(r), []string{"a", "b", "nobody"})
	c.ack(endpoints, r)
	w.tell(view("b", "10.0.0.3:1"))
	r = c.next()
	equal(t, "after a change of b", names(r), []string{"b"})
	c.ack(endpoints, r)
	c.send(endpoints, &discovery.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{"b"}})
	c.quiet()
	w.tell(view("b", "10.0.0.4:1"))
	w.tell(view("a", "10.0.0.5:1"))
	equal(t, "after b was unsubscribed", names(c.next()), []string{"a"})
}

func TestDeltaClientsThatAskAgainAreAnsweredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	c := w.openDelta(envoyNode)
	for range 3 {
		c.subscribe(endpoints, "a")
		equal(t, "asked for", names(c.next()), []string{"a"})
	}
	c.send(endpoints, &discovery.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{"a"}})
	c.subscribe(endpoints, "a")
	equal(t, "asked for again", names(c.next()), []string{"a"})
}

func TestDeltaClientsThatComeBackGetOnlyWhatTheyDoNotHave(t *testing.T) {
	t.Parallel()
	versions := map[string]string{}
	before := newWorld(t, Config{})
	before.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.2:1"))
	c := before.openDelta(envoyNode)
	c.subscribe(endpoints, "a", "b")
	for _, r := range c.next().GetResources() {
		versions[r.GetName()] = r.GetVersion()
	}
	after := newWorld(t, Config{}) // another server, or the same one restarted
	after.revision = 100
	after.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.3:1"))
	c = after.openDelta(envoyNode)
	c.send(endpoints, &discovery.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{"a", "b"}, InitialResourceVersions: versions})
	equal(t, "what changed meanwhile", names(c.next()), []string{"b"})
	c.quiet()
	after.tell(view("a", "10.0.0.4:1"))
	equal(t, "what changes from there on", names(c.next()), []string{"a"})
}

func TestDeltaClientsThatComeBackToTheSameAreSentNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	c := w.openDelta(envoyNode)
	c.send(clusters, &discovery.DeltaDiscoveryRequest{})
	r := c.next()
	for len(r.GetResources()) == 0 {
		r = c.next()
	}
	c = w.openDelta(envoyNode)
	c.send(clusters, &discovery.DeltaDiscoveryRequest{InitialResourceVersions: map[string]string{"a": r.GetResources()[0].GetVersion()}})
	c.quiet()
}

func TestDeltaClientsAreToldWhichNamesAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell()
	c := w.openDelta(envoyNode)
	c.subscribe(clusters, "-", "a")
	r := c.next()
	equal(t, "what is", names(r), []string{"a"})
	equal(t, "what cannot be", r.GetRemovedResources(), []string{"-"})
}

func TestDeltaClientsThatWantEverythingLearnOfNewServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell()
	c := w.openDelta(envoyNode)
	c.subscribe(clusters, wildcard)
	equal(t, "at first", len(c.next().GetResources()), 0)
	w.tell(view("a", "10.0.0.1:1"))
	r := c.next()
	equal(t, "the first service", names(r), []string{"a"})
	c.ack(clusters, r)
	w.tell(&rollcall.View{Service: "a"})
	w.tell(view("b", "10.0.0.1:1"))
	r = c.next()
	equal(t, "the second one", names(r), []string{"b"})
	equal(t, "withdrawn", len(r.GetRemovedResources()), 0)
	c.send(clusters, &discovery.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{wildcard}})
	c.quiet()
	w.tell(view("c", "10.0.0.1:1"))
	c.subscribe(clusters, "a")
	equal(t, "after everything", names(c.next()), []string{"a"})
}
