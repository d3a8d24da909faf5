// Package endpoints is a [rollcall.View] as a gRPC channel sees it: its instances one per address, their endpoints, and
// what changed between two of them. The resolver makes such views with a [Reducer] and sends them, the balancer takes them
// out of what it is sent, with [Of], and both pay for changes only: what did not change is the same pointer in both views.
package endpoints

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// View is what a channel is to know of a service. It is immutable and shared by all channels to the service.
type View struct {
	Service string // its name
	Target  string // the service with what selects among its instances, for texts that people read
	Zone    string // where the caller runs; "" when it did not say

	// Policy is the operator's for all callers; nil when there is none.
	Policy *rollcall.Policy

	// Instances are those that the channel selects, one per address, the newest, in whatever state, sorted by id. Their
	// Holder, Registered, TTL and revisions may be older than etcd's: nothing else having changed, they stay what they were.
	Instances []*rollcall.Instance

	reducer *identity // which made the view; nil for a view that is nobody's
	number  uint64    // counts the reducer's views, from 1
	changes []rollcall.Update
	all     bool // nobody serves: all are to be called

	mu   sync.Mutex
	list []resolver.Endpoint // nil: nobody has asked for it
}

// identity tells reducers apart. Views keep it instead of the reducer or the view before, which would live on in them.
type identity struct{ _ byte }

type viewKey struct{}

// Endpoints are what a policy that knows nothing of states is to call: the instances that serve, or all when none does, sorted
// by id. Never nil. They are made when they are asked for, once.
func (v *View) Endpoints() []resolver.Endpoint {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.list == nil {
		v.list = endpointsOf(v.Instances, v.wants)
	}
	return v.list
}

// wants reports whether an instance is to be called.
func (v *View) wants(i *rollcall.Instance) bool { return v.all || i.Serving() }

// State is what the resolver sends to a channel, the service config apart. The view travels along.
func (v *View) State() resolver.State {
	return resolver.State{Endpoints: v.Endpoints(), Attributes: attributes.New(viewKey{}, v)}
}

// Of returns the view that was sent with a state. It is false unless the state has the view's own endpoints: whatever
// stands between resolver and balancer, such as a policy that narrows the list or the code for proxies, rewrites
// them and passes the attributes on.
func Of(s resolver.State) (*View, bool) {
	v := Sent(s)
	if v == nil {
		return nil, false
	}
	list := v.Endpoints()
	if len(s.Endpoints) != len(list) || len(list) > 0 && &s.Endpoints[0] != &list[0] {
		return nil, false
	}
	return v, true
}

// Sent returns the view that was sent with a state whatever became of the endpoints; nil when none was.
func Sent(s resolver.State) *View {
	v, _ := s.Attributes.Value(viewKey{}).(*View)
	return v
}

// String is what gRPC prints of a state's attributes.
func (v *View) String() string {
	return fmt.Sprintf("%s: %d instances", v.Target, len(v.Instances))
}

// OlderThan reports whether one reducer made both views, this one before the other; nil stands for the empty view.
func (v *View) OlderThan(o *View) bool {
	return o != nil && v.reducer != nil && v.reducer == o.reducer && v.number < o.number
}

// Since returns what changed from prev to v in what a channel can see, one update per instance, sorted by id. A nil prev
// stands for the empty view. When prev is the view before v nothing is compared. Expired is never set.
func (v *View) Since(prev *View) []rollcall.Update {
	switch {
	case prev == nil:
		return walk(nil, v.Instances)
	case v.reducer == nil || v.reducer != prev.reducer:
	case prev.number == v.number:
		return nil
	case prev.number+1 == v.number:
		return v.changes
	}
	return walk(prev.Instances, v.Instances)
}

// walk compares two slices that are sorted by id. Most of what they have in common are the same pointers.
func walk(from, to []*rollcall.Instance) []rollcall.Update {
	var updates []rollcall.Update
	for len(from) > 0 || len(to) > 0 {
		switch {
		case len(from) > 0 && len(to) > 0 && from[0] == to[0]:
			from, to = from[1:], to[1:]
		case len(from) == 0 || len(to) > 0 && to[0].ID < from[0].ID:
			updates = append(updates, updateOf(nil, to[0]))
			to = to[1:]
		case len(to) == 0 || from[0].ID < to[0].ID:
			updates = append(updates, updateOf(from[0], nil))
			from = from[1:]
		default:
			if !same(from[0], to[0]) {
				updates = append(updates, updateOf(from[0], to[0]))
			}
			from, to = from[1:], to[1:]
		}
	}
	return updates
}

// updateOf is the update from one state of an instance to another; nil stands for absent.
func updateOf(prev, now *rollcall.Instance) rollcall.Update {
	switch {
	case prev == nil:
		return rollcall.Update{Op: rollcall.Add, Instance: now}
	case now == nil:
		return rollcall.Update{Op: rollcall.Delete, Instance: prev, Prev: prev}
	}
	return rollcall.Update{Op: rollcall.Modify, Instance: now, Prev: prev}
}

// applyUpdates returns instances, sorted by id, with updates, which are sorted too, as a new slice.
func applyUpdates(instances []*rollcall.Instance, updates []rollcall.Update) []*rollcall.Instance {
	after := make([]*rollcall.Instance, 0, len(instances)+len(updates))
	for _, u := range updates {
		n, found := slices.BinarySearchFunc(instances, u.Instance.ID, compareID)
		after = append(after, instances[:n]...)
		instances = instances[n:]
		if found {
			instances = instances[1:]
		}
		if u.Op != rollcall.Delete {
			after = append(after, u.Instance)
		}
	}
	return append(after, instances...)
}

func compareID(i *rollcall.Instance, id string) int { return strings.Compare(i.ID, id) }
