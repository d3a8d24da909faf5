package resolver

import (
	"bytes"
	"maps"
	"slices"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// InstanceOf returns what is known about the instance behind an endpoint, for load-balancing policies. It returns false
// for an endpoint that does not come from this package.
//
// The instance is shared and must not be changed. Its TTL, Holder, Registered, Revision and CreateRevision may be older
// than etcd's: nothing else having changed, the channel is not told.
func InstanceOf(ep resolver.Endpoint) (*rollcall.Instance, bool) {
	a, ok := ep.Attributes.Value(attributeKey{}).(attribute)
	return a.instance, ok
}

type attributeKey struct{}

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
			a.Weight == b.Weight && a.Suspect == b.Suspect && a.Zone == b.Zone && a.Version == b.Version &&
			maps.Equal(a.Addrs, b.Addrs) && maps.Equal(a.Metadata, b.Metadata) && bytes.Equal(a.RawMetadata, b.RawMetadata)
}

// endpoints is a view as a channel sees it.
type endpoints struct {
	list   []resolver.Endpoint          // never nil once replaced, never changed in place: gRPC keeps it
	byAddr map[string]resolver.Endpoint // the same, by address
}

// replace takes over a view, and reports whether it differs from the one before in anything that a channel can see. The
// endpoints of unchanged instances stay what they were.
func (e *endpoints) replace(view *rollcall.View) (changed bool) {
	instances := ready(view)
	list := make([]resolver.Endpoint, len(instances))
	byAddr := make(map[string]resolver.Endpoint, len(instances))
	changed = len(instances) != len(e.list)
	for n, i := range instances {
		ep, known := e.byAddr[i.Addr]
		if old, _ := InstanceOf(ep); !known || !same(old, i) {
			ep, changed = newEndpoint(i), true
		}
		list[n], byAddr[i.Addr] = ep, ep
	}
	if changed || e.list == nil {
		e.list, e.byAddr = list, byAddr
	}
	return changed
}

func newEndpoint(i *rollcall.Instance) resolver.Endpoint {
	return resolver.Endpoint{
		Addresses:  []resolver.Address{{Addr: i.Addr}},
		Attributes: attributes.New(attributeKey{}, attribute{i}),
	}
}

// ready returns the instances that are to be connected to, sorted by id, one per address: those that serve, or, when none
// does, all there are. Suspects are among them: a policy calls only what it has a connection to, and the connection is
// better evidence of life than a lease.
func ready(view *rollcall.View) []*rollcall.Instance {
	all := onePerAddress(view.Instances)
	serving := slices.DeleteFunc(slices.Clone(all), func(i *rollcall.Instance) bool { return !i.Serving() })
	if len(serving) == 0 {
		return all
	}
	return serving
}

// onePerAddress leaves the newest of the instances that share an address. They share a connection too, and only the
// newest can be behind it: the others are what processes that died there left behind, under ids of their own. That the
// newest drains therefore counts for all.
func onePerAddress(instances []*rollcall.Instance) []*rollcall.Instance {
	newest := make(map[string]*rollcall.Instance, len(instances))
	for _, i := range instances {
		if other := newest[i.Addr]; other == nil || newer(i, other) {
			newest[i.Addr] = i
		}
	}
	if len(newest) == len(instances) {
		return instances
	}
	return slices.DeleteFunc(slices.Clone(instances), func(i *rollcall.Instance) bool { return newest[i.Addr] != i })
}

func newer(a, b *rollcall.Instance) bool {
	if a.CreateRevision != b.CreateRevision {
		return a.CreateRevision > b.CreateRevision
	}
	return a.Revision > b.Revision
}
