package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// watched returns what the only client watches of a type.
func (w *world) watched(k kind) Watched {
	for _, c := range w.Clients() {
		for _, watched := range c.Types {
			if watched.TypeURL == typeURLs[k] {
				return watched
			}
		}
	}
	return Watched{}
}

func TestClientsSayWhoTheyAreAndWhatTheyHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Author: func(context.Context) string { return "spiffe://ada" }})
	w.tell(view("a", "10.0.0.1:1"))
	c := w.open(&core.Node{
		Id: "caller", Cluster: "shop", UserAgentName: "gRPC Go", Locality: &core.Locality{Zone: "z1"},
		UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: "1.85.0"},
	})
	c.ask(endpoints, "a")
	r := c.next()
	if got := w.watched(endpoints); !got.Pending || got.Version != "" {
		t.Errorf("before the acknowledgement: %+v", got)
	}
	c.ack(r, "a")
	eventually(t, "the acknowledgement", func() bool { return w.watched(endpoints).Version == r.GetVersionInfo() })
	list := w.Clients()
	if len(list) != 1 || list[0].Since.IsZero() {
		t.Fatalf("%+v", list)
	}
	list[0].Since = time.Time{}
	equal(t, "the client", list[0], Client{
		ID: "caller", Cluster: "shop", Author: "spiffe://ada", Agent: "gRPC Go", AgentVersion: "1.85.0", Zone: "z1",
		Types: []Watched{{TypeURL: typeURLs[endpoints], Names: []string{"a"}, Revisions: []int64{1}, Version: r.GetVersionInfo(), Nonce: r.GetNonce()}},
	})
}

func TestClientsHaveTheRevisionOfWhatTheyHaveAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.2:1")) // of revision 1; each that follows is of the next one
	c := w.open(&core.Node{Id: "caller"})
	c.ask(endpoints, "a", "b", "c")
	has := func(what string, a, b, c int64) {
		t.Helper()
		want := []int64{a, b, c}
		eventually(t, what, func() bool { return slices.Equal(w.watched(endpoints).Revisions, want) })
	}
	first := c.next()
	has("nothing before the acknowledgement", 0, 0, 0)
	c.ack(first, "a", "b", "c")
	has("what it acknowledged", 1, 1, 0)
	w.tell(view("a", "10.0.0.1:1"))
	has("the same, of a newer revision, which need not be told", 2, 1, 0)
	w.tell(view("a", "10.0.0.3:1"))
	second := c.next()
	has("what was so until something newer was told", 2, 1, 0)
	c.ack(second, "a", "b", "c")
	has("that", 3, 1, 0)
	w.tell(view("c", "10.0.0.4:1"))
	c.ack(c.next(), "a", "b", "c")
	has("the first instance of a service that nobody had", 3, 1, 4)
}

func TestARefusalIsKeptUntilSomethingNewerIsAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"), view("b", "10.0.0.2:1"))
	c := w.open(grpcNode)
	c.ask(endpoints, "a", "b")
	first := c.next()
	c.ack(first, "a", "b")
	w.tell(view("a", "10.0.0.3:1"))
	refused := c.next()
	c.nack(refused, "no such luck", "a", "b")
	eventually(t, "the refusal", func() bool { return w.watched(endpoints).Refusal != nil })
	got := w.watched(endpoints)
	if got.Version != first.GetVersionInfo() || got.Refusal.Version != refused.GetVersionInfo() || got.Refusal.Detail != "no such luck" {
		t.Errorf("%+v, %+v", got, got.Refusal)
	}
	c.quiet() // the same is not sent again
	w.tell(view("b", "10.0.0.4:1"))
	other := c.next()
	c.ack(other, "a", "b")
	eventually(t, "the acknowledgement of another service", func() bool { return w.watched(endpoints).Version == other.GetVersionInfo() })
	if w.watched(endpoints).Refusal == nil {
		t.Error("the refusal of a is forgotten for an acknowledgement of b")
	}
	w.tell(view("a", "10.0.0.5:1"))
	c.ack(c.next(), "a", "b")
	eventually(t, "the end of the refusal", func() bool { return w.watched(endpoints).Refusal == nil })
	if n := w.Stats().Refusals; n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
}

func TestAcknowledgedNamesWhoHasNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	quick, slow, other := w.open(grpcNode), w.open(&core.Node{Id: "slow", UserAgentName: "gRPC Go"}), w.open(&core.Node{Id: "other"})
	other.ask(endpoints, "b")
	other.next()
	for _, c := range []*worldClient{quick, slow} {
		c.ask(endpoints, "a")
	}
	quick.ack(quick.next(), "a")
	last := slow.next()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := w.acknowledged(short, "a")
	pending, ok := errors.AsType[*PendingError](err)
	if !ok || len(pending.Clients) != 1 || pending.Clients[0].ID != "slow" || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "slow") {
		t.Fatalf("%v", err)
	}
	slow.ack(last, "a")
	if err := w.acknowledged(within(t, patience), "a"); err != nil {
		t.Fatal(err)
	}
	w.tell(view("a", "10.0.0.2:1"))
	quick.ack(quick.next(), "a")
	slow.next()
	_ = slow.stream.CloseSend() // it goes away
	if err := w.acknowledged(within(t, patience), "a"); err != nil {
		t.Fatal(err)
	}
}

// C-core 1.51 does so when two responses come close together.
func TestAClientThatAnswersTheLastResponseOnlyHasTheOnesBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	w.tell(view("b", "10.0.1.1:1"))
	c := w.open(grpcNode)
	c.ask(endpoints, "a", "b")
	c.ack(c.next(), "a", "b")
	w.tell(view("a", "10.0.0.2:1"))
	c.next()
	w.tell(view("b", "10.0.1.2:1"))
	c.ack(c.next(), "a", "b")
	for _, service := range []string{"a", "b"} { // sooner than the client's own stream ends, which would do as well
		if err := w.acknowledged(within(t, patience/4), service); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAServiceThatAClientMayNotSeeLooksLikeOneThatNobodyRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Sight: func(ctx context.Context) (string, func(string) bool) {
		all := len(metadata.ValueFromIncomingContext(ctx, "all")) > 0
		return "", func(service string) bool { return all || service != "secret" && service != "unknown" }
	}})
	v := view("secret", "10.0.0.1:1")
	v.Policy = policyOfEverything()
	w.tell(v, view("open", "10.0.0.2:1"))
	told := func(ctx context.Context, service string) (list []string) {
		stream, err := w.client.StreamAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c := &worldClient{t: t, stream: stream, node: grpcNode}
		for k := range kinds {
			c.ask(k, service)
			r := c.next()
			for _, a := range r.GetResources() {
				list = append(list, strings.ReplaceAll(string(a.GetValue()), service, "x"))
			}
			if len(service) == len("secret") { // lengths are part of the bytes
				list = append(list, r.GetTypeUrl())
			}
		}
		return list
	}
	hidden, free := told(within(t, patience), "secret"), told(within(t, patience), "nobody")
	equal(t, "what a client may not see", hidden, free)
	trusted := metadata.AppendToOutgoingContext(within(t, patience), "all", "yes")
	if seen := told(trusted, "secret"); slices.Equal(seen, hidden) {
		t.Error("who may see it sees no more")
	}
	c := w.open(envoyNode)
	c.ask(clusters)
	r := c.next()
	for len(r.GetResources()) == 0 {
		r = c.next()
	}
	equal(t, "everything that may be seen", clusterNames(t, r), []string{"open"})
}

func TestTooManyStreamsAndNamesAreTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{MaxStreams: 2, MaxSubscriptions: 2})
	w.tell()
	c, d := w.open(grpcNode), w.openDelta(envoyNode)
	c.ask(endpoints, "a", "b")
	c.next()
	d.subscribe(endpoints, "a", "b")
	d.next()
	third := w.open(grpcNode)
	if _, err := third.stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a stream too many: %v", err)
	}
	d.subscribe(endpoints, "c")
	if _, err := d.stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a name too many: %v", err)
	}
	c.ask(endpoints, "a", "b", "c")
	if _, err := c.stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a name too many: %v", err)
	}
	eventually(t, "nothing to be left", func() bool {
		stats := w.Stats()
		return stats.Streams == 0 && stats.Services == 0 && stats.Subscriptions == 0 && stats.TurnedAway == 3
	})
}

func TestNamesThatAreNoneAreNotKeptWithoutEndForAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, delta := range []bool{false, true} {
		s := newServer(nil, Config{MaxSubscriptions: 5})
		defer s.cancel()
		st, err := s.enter(t.Context(), delta)
		if err != nil {
			t.Fatal(err)
		}
		defer s.exit(st)
		for n := 0; err == nil && n < 100; n++ {
			bad := []string{fmt.Sprint("-", n)}
			if delta {
				err = st.changes(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNamesSubscribe: bad})
			} else {
				err = st.world(&discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: bad, ResponseNonce: []string{"", "1"}[min(n, 1)]})
				if n == 0 {
					st.collect()
				}
			}
		}
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("delta %t: %v", delta, err)
		}
	}
}

func TestAClientThatAsksAndHangsUpIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell(view("a", "10.0.0.1:1"))
	for range 20 {
		c := w.open(grpcNode)
		c.ask(endpoints, "a")
		if err := c.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		equal(t, "the answer", addrs(t, c.next()), []string{"a: 10.0.0.1:1"})
		if _, err := c.stream.Recv(); !errors.Is(err, io.EOF) {
			t.Fatalf("after that: %v", err)
		}
	}
}

func TestMoreNamesThanTheServerTakesAreTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{MaxTotal: 3})
	w.tell()
	c, d := w.open(grpcNode), w.openDelta(envoyNode)
	c.ask(endpoints, "a", "b")
	c.next()
	d.subscribe(endpoints, "a", "b")
	if _, err := d.stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a name too many: %v", err)
	}
	c.quiet()
}

func TestAStreamEndsAtItsAgeAndWithTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{MaxStreamAge: 50 * time.Millisecond})
	w.tell()
	c := w.open(grpcNode)
	c.ask(endpoints, "a")
	c.next()
	if _, err := c.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("an old stream: %v", err)
	}
	w = newWorld(t, Config{})
	w.tell()
	c = w.open(grpcNode)
	c.ask(endpoints, "a")
	c.next()
	w.EndStreams()
	if _, err := c.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream of a server that stops: %v", err)
	}
	late := w.open(grpcNode)
	if _, err := late.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream to a server that has stopped: %v", err)
	}
}

func TestAnUnknownTypeIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.tell()
	c := w.open(envoyNode)
	c.send(&discovery.DiscoveryRequest{TypeUrl: "type.googleapis.com/envoy.service.runtime.v3.Runtime", ResourceNames: []string{"x"}})
	c.quiet()
}
