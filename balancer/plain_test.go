package balancer

import (
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// endpoint is one of another resolver than ours.
func endpoint(addrs ...string) resolver.Endpoint {
	var ep resolver.Endpoint
	for _, addr := range addrs {
		ep.Addresses = append(ep.Addresses, resolver.Address{Addr: addr})
	}
	return ep
}

func TestEndpointsOfAnyResolverAreCalledInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChannel(t, "", Config{})
		list := func(eps ...resolver.Endpoint) {
			t.Helper()
			c.update(resolver.State{Endpoints: eps})
			c.connect()
			c.quiet()
		}
		check := func(want ...string) {
			t.Helper()
			slices.Sort(want)
			if got := c.addresses(); !slices.Equal(got, want) {
				t.Errorf("connections to %q, want %q", got, want)
			}
			if len(want) == 0 {
				return
			}
			for addr, n := range c.picks(100 * len(want)) {
				if n != 100 {
					t.Errorf("%s is called %d times, want 100", addr, n)
				}
			}
		}
		list(endpoint("a:1"), endpoint("b:1"), endpoint("c:1", "[c]:1"))
		check("a:1", "b:1", "[c]:1 c:1")
		if got := c.conn("[c]:1 c:1").addrs; len(got) != 2 || got[0].Addr != "c:1" {
			t.Errorf("the connection of two addresses has %v", got)
		}
		list(endpoint("b:1"), endpoint("a:1"), endpoint("a:1"), endpoint("d:1"), endpoint())
		check("a:1", "b:1", "d:1")
		if c.made["a:1"] != 1 || c.made["b:1"] != 1 {
			t.Errorf("connections that were made: %v, want one to each", c.made)
		}

		marked := endpoint("a:1")
		marked.Attributes = attributes.New("anything", "else")
		list(marked, endpoint("b:1"))
		check("a:1", "b:1")
		if c.made["a:1"] != 1 {
			t.Error("another attribute of an endpoint makes another connection")
		}
		marked.Addresses[0].ServerName = "another"
		list(marked, endpoint("b:1"))
		check("a:1", "b:1")
		if c.made["a:1"] != 2 {
			t.Error("another server name of an address does not make another connection")
		}
		list(resolver.Endpoint{Addresses: []resolver.Address{{Addr: "f:1"}, {Addr: "e:1"}}}, endpoint("b:1"))
		check("b:1", "e:1 f:1")
		list(resolver.Endpoint{Addresses: []resolver.Address{{Addr: "f:1"}, {Addr: "e:1"}}}, endpoint("b:1"))
		check("b:1", "e:1 f:1")
		if c.made["e:1 f:1"] != 1 || c.made["b:1"] != 1 {
			t.Errorf("connections that were made: %v, want one to each", c.made)
		}

		list()
		check()
		if c.connectivity() != connectivity.TransientFailure {
			t.Errorf("without endpoints the channel is %v", c.connectivity())
		}
		list(endpoint("b:1"))
		check("b:1")
	})
}

// Of two instances at one address, which somebody has put together, the first counts, as it does for gRPC.
func TestOfEndpointsWithOneAddressTheFirstCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChannel(t, "", Config{})
		eps := func(weights ...int) []resolver.Endpoint {
			var all []*rollcall.Instance
			for n, weight := range weights {
				all = append(all, instance(n, weighing(weight)))
			}
			view, _ := endpoints.NewReducer("svc", "", nil).Apply(newService(all...).next().Updates)
			return view.Endpoints()
		}
		c.update(resolver.State{Endpoints: append(eps(300, 100), eps(500, 900)...)})
		c.connect()
		c.quiet()
		if got := c.shares(); got[addr(0)] != 0.75 || len(got) != 2 {
			t.Errorf("shares %v, want 3 to 1", got)
		}
	})
}

// From another resolver to ours and back: what both have stays.
func TestAddressesKeepTheirConnectionsWhoeverNamesThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newChannel(t, "", Config{}), newService(instance(0, weighing(300)), instance(1))
		c.update(resolver.State{Endpoints: []resolver.Endpoint{endpoint(addr(0)), endpoint("b:1")}})
		c.connect()
		c.quiet()
		c.show(s.next())
		c.connect()
		c.quiet()
		if got := c.shares(); got[addr(0)] != 0.75 || len(got) != 2 {
			t.Errorf("shares %v, want 3 to 1", got)
		}
		c.update(resolver.State{Endpoints: []resolver.Endpoint{endpoint(addr(0)), endpoint("b:1")}})
		c.connect()
		c.quiet()
		if counts := c.picks(400); counts[addr(0)] != 200 || counts["b:1"] != 200 {
			t.Errorf("calls go to %v, want 200 each", counts)
		}
		if c.made[addr(0)] != 1 {
			t.Errorf("%d connections were made to %s, want 1", c.made[addr(0)], addr(0))
		}
	})
}

func TestManyEndpointsOfAnyResolverAreCalledThroughASubset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChannel(t, "", Config{Subset: Subset{Size: 5}})
		var eps []resolver.Endpoint
		for n := range 50 {
			eps = append(eps, endpoint(addr(n)))
		}
		c.update(resolver.State{Endpoints: eps})
		c.connect()
		c.quiet()
		before := c.addresses()
		if got := len(c.picks(100)); got != 5 {
			t.Errorf("%d are called, want 5", got)
		}
		slices.Reverse(eps)
		c.update(resolver.State{Endpoints: eps})
		if got := c.addresses(); !slices.Equal(got, before) {
			t.Errorf("in another order the subset is %v, not %v", got, before)
		}
	})
}
