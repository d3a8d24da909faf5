package integration

import (
	"context"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func update(t *testing.T, r *rollcall.Registration, change func(*rollcall.Instance)) {
	t.Helper()
	if err := r.Update(within(t, grpcPatience), change); err != nil {
		t.Fatal(err)
	}
}

// share tells whether a server has about as many calls of a tally.
func share(g *greeter, calls int) func(map[string]int) bool {
	return func(counts map[string]int) bool { return counts[g.addr] >= calls-2 && counts[g.addr] <= calls+2 }
}

func TestAChangedWeightMovesCallsAndNoConnection(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	a, b := newGreeter(t), newGreeter(t)
	heavy := a.register(t, reg, rollcall.Instance{})
	b.register(t, reg, rollcall.Instance{})
	d := newDials()
	conn := dial(t, reg, d.option())
	tallyUntil(t, conn, 40, "half of the calls for each", share(a, 20))

	update(t, heavy, func(i *rollcall.Instance) { i.Weight = 300 })
	tallyUntil(t, conn, 40, "three quarters for the one with three times the weight", share(a, 30))
	update(t, heavy, func(i *rollcall.Instance) {
		i.Weight, i.Version, i.Zone, i.Metadata = 25, "2", "elsewhere", map[string]string{"team": "b"}
		i.Addrs = map[string]string{"http": "10.0.0.7:8080"}
	})
	tallyUntil(t, conn, 40, "a fifth for the one with a quarter of the weight", share(a, 8))
	mustEqual(t, "dials", d.dialled(), map[string]int{a.addr: 1, b.addr: 1})
}

func TestADrainingServerGetsNoNewCallsAndFinishesItsStreams(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	a, b := newGreeter(t), newGreeter(t)
	statuses := map[string]*health.Server{a.addr: health.NewServer(), b.addr: health.NewServer()}
	registrations := map[string]*rollcall.Registration{}
	for _, g := range []*greeter{a, b} {
		healthpb.RegisterHealthServer(g.srv, statuses[g.addr])
		registrations[g.addr] = g.register(t, reg, rollcall.Instance{})
	}
	d := newDials()
	conn := dial(t, reg, d.option())
	tallyUntil(t, conn, 4, "calls to both", only(a, b))

	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	mustReceive(t, stream, healthpb.HealthCheckResponse_SERVING)
	server, _ := peer.FromContext(stream.Context())
	leaver, stayer := server.Addr.String(), a
	if leaver == a.addr {
		stayer = b
	}

	if err := registrations[leaver].Drain(ctx); err != nil {
		t.Fatal(err)
	}
	tallyUntil(t, conn, 20, "calls to the one that does not drain", only(stayer))
	statuses[leaver].SetServingStatus("", healthpb.HealthCheckResponse_UNKNOWN)
	mustReceive(t, stream, healthpb.HealthCheckResponse_UNKNOWN)

	if err := registrations[leaver].Deregister(ctx); err != nil {
		t.Fatal(err)
	}
	joiner := newGreeter(t)
	joiner.register(t, reg, rollcall.Instance{})
	tallyUntil(t, conn, 20, "calls to the one that joined after the other had left", only(stayer, joiner))
	statuses[leaver].SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	mustReceive(t, stream, healthpb.HealthCheckResponse_SERVING)
	mustEqual(t, "dials", d.dialled(), map[string]int{a.addr: 1, b.addr: 1, joiner.addr: 1})
}

func mustReceive(t *testing.T, stream grpc.ServerStreamingClient[healthpb.HealthCheckResponse], want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	got, err := stream.Recv()
	if err != nil || got.Status != want {
		t.Fatalf("the stream has %v, %v; want %v", got, err, want)
	}
}

func TestThatAllDrainTakesNoServerFromTheCallers(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	a, b := newGreeter(t), newGreeter(t)
	ra, rb := a.register(t, reg, rollcall.Instance{}), b.register(t, reg, rollcall.Instance{})
	d := newDials()
	conn := dial(t, reg, d.option())
	tallyUntil(t, conn, 4, "calls to both", only(a, b))
	if err := ra.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	update(t, rb, func(i *rollcall.Instance) { i.State, i.Weight = rollcall.StateDraining, 300 })
	tallyUntil(t, conn, 40, "calls to both while both drain", func(counts map[string]int) bool {
		return only(a, b)(counts) && share(b, 30)(counts) // so the channel has heard of the last change
	})
	update(t, ra, func(i *rollcall.Instance) { i.State = rollcall.StateServing })
	tallyUntil(t, conn, 20, "calls to the one that serves again", only(a))
	mustEqual(t, "dials", d.dialled(), map[string]int{a.addr: 1, b.addr: 1})

	for _, r := range []*rollcall.Registration{ra, rb} {
		if err := r.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, grpcPatience, "calls that fail because nobody is left", func() bool {
		_, err := greet(t, conn)
		return status.Code(err) == codes.Unavailable
	})
	eventually(t, grpcPatience, "connections closed", func() bool { return d.connections() == 0 })
}
