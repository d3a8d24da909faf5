package endpoints

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// InstanceOf returns the instance behind an endpoint, and false for an endpoint that is not of this package.
func InstanceOf(ep resolver.Endpoint) (*rollcall.Instance, bool) {
	a, ok := ep.Attributes.Value(instanceKey{}).(attribute)
	return a.instance, ok
}

type instanceKey struct{}

// attribute is all that an endpoint carries. It belongs to the endpoint, never to the address: gRPC takes an address
// with another attribute for another server, and would reconnect at each change of a weight.
type attribute struct{ instance *rollcall.Instance }

// Equal is what gRPC compares attributes by.
func (a attribute) Equal(o any) bool {
	b, ok := o.(attribute)
	return ok && same(a.instance, b.instance)
}

func (a attribute) String() string { return a.instance.ID }

// same reports whether two instances are one to a channel. What changes when an instance is merely put again, under
// another lease or with another holder, is not compared.
func same(a, b *rollcall.Instance) bool {
	return a == b ||
		a.ID == b.ID && a.Addr == b.Addr && a.Incarnation == b.Incarnation && a.State == b.State &&
			a.EffectiveState() == b.EffectiveState() && a.EffectiveWeight() == b.EffectiveWeight() &&
			a.Weight == b.Weight && a.Suspect == b.Suspect && a.Healthy() == b.Healthy() && a.Zone == b.Zone && a.Version == b.Version &&
			maps.Equal(a.Addrs, b.Addrs) && maps.Equal(a.Metadata, b.Metadata) && bytes.Equal(a.RawMetadata, b.RawMetadata)
}

func newEndpoint(i *rollcall.Instance) resolver.Endpoint {
	return resolver.Endpoint{
		Addresses:  []resolver.Address{{Addr: i.Addr}},
		Attributes: attributes.New(instanceKey{}, attribute{i}),
	}
}

// renewed is the endpoint of an instance that has changed, or moved.
func renewed(ep resolver.Endpoint, i *rollcall.Instance) resolver.Endpoint {
	if ep.Addresses[0].Addr != i.Addr {
		return newEndpoint(i)
	}
	ep.Attributes = attributes.New(instanceKey{}, attribute{i})
	return ep
}

// endpointsOf lists the endpoints of the wanted instances, made anew.
func endpointsOf(instances []*rollcall.Instance, wanted func(*rollcall.Instance) bool) []resolver.Endpoint {
	list := make([]resolver.Endpoint, 0, len(instances))
	for _, i := range instances {
		if wanted(i) {
			list = append(list, newEndpoint(i))
		}
	}
	return list
}

// updateEndpoints is endpointsOf by what changed since former, which listed the wanted too. What did not change stays, and
// when no change concerns the wanted it is former itself.
func updateEndpoints(former []resolver.Endpoint, updates []rollcall.Update, wanted func(*rollcall.Instance) bool) []resolver.Endpoint {
	var list []resolver.Endpoint
	rest := former
	for _, u := range updates {
		was := u.Prev != nil && wanted(u.Prev)
		is := u.Op != rollcall.Delete && wanted(u.Instance)
		if !was && !is {
			continue
		}
		if list == nil {
			list = make([]resolver.Endpoint, 0, len(former)+len(updates))
		}
		n, _ := slices.BinarySearchFunc(rest, u.Instance.ID, compareEndpoint)
		list = append(list, rest[:n]...)
		rest = rest[n:]
		switch {
		case was && is:
			list = append(list, renewed(rest[0], u.Instance))
		case is:
			list = append(list, newEndpoint(u.Instance))
		}
		if was {
			rest = rest[1:]
		}
	}
	if list == nil {
		return former
	}
	return append(list, rest...)
}

func compareEndpoint(ep resolver.Endpoint, id string) int {
	i, _ := InstanceOf(ep)
	return strings.Compare(i.ID, id)
}
