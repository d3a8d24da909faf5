package integration

import (
	"errors"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

// plainChannel makes a channel that rollcall's resolver has no part in.
func plainChannel(t *testing.T, target, config string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, append(opts, grpc.WithDefaultServiceConfig(config),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// endpointsAt are the endpoints of servers with one address each.
func endpointsAt(addrs ...string) []resolver.Endpoint {
	var eps []resolver.Endpoint
	for _, addr := range addrs {
		eps = append(eps, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	return eps
}

func TestThePolicyWorksWithGRPCsOwnResolvers(t *testing.T) {
	t.Parallel()
	g := newGreeter(t).run(t)
	_, port, err := net.SplitHostPort(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"passthrough:///" + g.addr, "dns:///" + g.addr, "dns:///localhost:" + port, g.addr} {
		conn := plainChannel(t, target, policyConfig("rollcall", `{}`))
		mustEqual(t, "calls to "+target, tally(t, conn, 5, grpc.WaitForReady(true)), map[string]int{g.addr: 5})
	}
}

func TestThePolicyFollowsEndpointsOfAnyResolver(t *testing.T) {
	t.Parallel()
	a, b, c := newGreeter(t).run(t), newGreeter(t).run(t), newGreeter(t).run(t)
	r := manual.NewBuilderWithScheme("manual")
	d := newDials()
	conn := plainChannel(t, "manual:///any", policyConfig("rollcall", `{}`), grpc.WithResolvers(r), d.option())
	conn.Connect()
	eventually(t, grpcPatience, "the channel to ask its resolver", func() bool { return r.CC() != nil })
	r.CC().ReportError(errors.New("the phone book is on fire"))
	if _, err := greet(t, conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the phone book is on fire") {
		t.Errorf("a call without an endpoint: %v; want Unavailable and what the resolver said", err)
	}

	r.UpdateState(resolver.State{Endpoints: endpointsAt(a.addr, b.addr)})
	tallyUntil(t, conn, 4, "calls to both", only(a, b))
	r.CC().ReportError(errors.New("on fire again"))
	tally(t, conn, 20)
	r.UpdateState(resolver.State{Endpoints: endpointsAt(b.addr, c.addr, b.addr)}) // in another order, and one of them twice
	tallyUntil(t, conn, 4, "calls to the two that are there now", only(b, c))
	r.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: c.addr}, {Addr: a.addr}}}) // as old resolvers have it
	tallyUntil(t, conn, 4, "calls to the two that are there now", only(a, c))
	mustEqual(t, "dials", d.dialled(), map[string]int{a.addr: 2, b.addr: 1, c.addr: 1})

	r.UpdateState(resolver.State{Endpoints: []resolver.Endpoint{}})
	if _, err := greet(t, conn); status.Code(err) != codes.Unavailable {
		t.Errorf("a call without an endpoint: %v; want Unavailable", err)
	}
	eventually(t, grpcPatience, "connections closed", func() bool { return d.connections() == 0 })
	r.UpdateState(resolver.State{Endpoints: endpointsAt(b.addr)})
	mustEqual(t, "calls after there was nobody", tally(t, conn, 5, grpc.WaitForReady(true)), map[string]int{b.addr: 5})
}

func TestAnEndpointWithTwoAddressesIsOneServer(t *testing.T) {
	t.Parallel()
	g, other := newGreeter(t).run(t), newGreeter(t).run(t)
	closed := newGreeter(t)
	_ = closed.lis.Close()
	r := manual.NewBuilderWithScheme("manual")
	twofold := resolver.Endpoint{Addresses: []resolver.Address{{Addr: closed.addr}, {Addr: g.addr}}}
	r.InitialState(resolver.State{Endpoints: append(endpointsAt(other.addr), twofold)})
	conn := plainChannel(t, "manual:///any", policyConfig("rollcall", `{}`), grpc.WithResolvers(r))
	tallyUntil(t, conn, 20, "as many calls for one with two addresses", share(g, 10))
}
