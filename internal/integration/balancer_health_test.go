package integration

import (
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

const (
	healthChecked = `{"healthCheckConfig":{"serviceName":"helloworld.Greeter"},"loadBalancingConfig":[{"rollcall":{}}]}`
	serving       = healthpb.HealthCheckResponse_SERVING
	notServing    = healthpb.HealthCheckResponse_NOT_SERVING
)

// checkedGreeter is a registered server with a health that the test sets.
func checkedGreeter(t *testing.T, reg *rollcall.Registry, status healthpb.HealthCheckResponse_ServingStatus) (*greeter, func(healthpb.HealthCheckResponse_ServingStatus)) {
	t.Helper()
	g, own := newGreeter(t), health.NewServer()
	set := func(s healthpb.HealthCheckResponse_ServingStatus) { own.SetServingStatus("helloworld.Greeter", s) }
	set(status)
	healthpb.RegisterHealthServer(g.srv, own)
	g.register(t, reg, rollcall.Instance{})
	return g, set
}

func TestServersAreCalledAsTheirHealthSaysWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	a, setA := checkedGreeter(t, reg, serving)
	b, setB := checkedGreeter(t, reg, serving)
	d := newDials()
	conn := dial(t, reg, configured(reg, healthChecked), d.option())
	tallyUntil(t, conn, 4, "calls to both", only(a, b))

	setB(notServing)
	tallyUntil(t, conn, 20, "calls to the healthy one", only(a))
	if counts := tally(t, conn, 100); counts[b.addr] != 0 {
		t.Errorf("a server that says that it does not serve got calls again: %v", counts)
	}
	setB(serving)
	tallyUntil(t, conn, 4, "calls to both again", only(a, b))

	setA(notServing)
	setB(notServing)
	eventually(t, grpcPatience, "calls that fail because nobody is healthy", func() bool {
		_, err := greet(t, conn)
		return status.Code(err) == codes.Unavailable
	})
	answered := make(chan error, 1)
	go func() {
		_, err := greet(t, conn, grpc.WaitForReady(true))
		answered <- err
	}()
	setA(serving)
	if err := <-answered; err != nil {
		t.Errorf("a call that waited for a healthy server: %v", err)
	}
	tallyUntil(t, conn, 20, "calls to the one that is healthy again", only(a))
	mustEqual(t, "dials", d.dialled(), map[string]int{a.addr: 1, b.addr: 1})
}

func TestHealthCountsForNothingWhereItIsNotAskedFor(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	sick, _ := checkedGreeter(t, reg, notServing)
	bare := newGreeter(t)
	bare.register(t, reg, rollcall.Instance{})
	tallyUntil(t, dial(t, reg), 4, "calls to both", only(sick, bare))

	// Who asks takes a server without a health service for healthy.
	conn := dial(t, reg, configured(reg, healthChecked))
	tallyUntil(t, conn, 20, "calls to the one that has no health service", only(bare))
}

func TestHealthChecksCanBeSwitchedOnAndOffWithoutANewConnection(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	sick, setSick := checkedGreeter(t, reg, notServing)
	well, _ := checkedGreeter(t, reg, serving)
	r, d := manual.NewBuilderWithScheme("manual"), newDials()
	r.InitialState(resolver.State{Endpoints: endpointsAt(sick.addr, well.addr)})
	conn := plainChannel(t, "manual:///any", policyConfig("rollcall", `{}`), grpc.WithResolvers(r), d.option())
	send := func(config string) {
		r.UpdateState(resolver.State{Endpoints: endpointsAt(sick.addr, well.addr), ServiceConfig: r.CC().ParseServiceConfig(config)})
	}
	tallyUntil(t, conn, 20, "calls to both before", only(sick, well))
	for range 3 {
		send(healthChecked)
		tallyUntil(t, conn, 20, "calls to the healthy one", only(well))
		setSick(serving)
		tallyUntil(t, conn, 20, "calls to both healthy ones", only(sick, well))
		setSick(notServing)
		tallyUntil(t, conn, 20, "calls to the healthy one again", only(well))
		send(policyConfig("rollcall", `{}`))
		tallyUntil(t, conn, 20, "calls to both", only(sick, well))
	}
	mustEqual(t, "dials", d.dialled(), map[string]int{sick.addr: 1, well.addr: 1})
}
