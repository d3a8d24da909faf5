package balancer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rollcall-io/rollcall"
)

// service makes views of a service that changes.
type service struct {
	puts int64
	view *rollcall.View
	all  map[string]*rollcall.Instance
}

func newService(instances ...*rollcall.Instance) *service {
	s := &service{view: &rollcall.View{Service: "svc"}, all: make(map[string]*rollcall.Instance)}
	s.put(instances...)
	return s
}

// put registers instances, or writes them again. They must not have been put before: views keep them.
func (s *service) put(instances ...*rollcall.Instance) {
	for _, i := range instances {
		s.puts++
		i.Revision, i.CreateRevision = s.puts, s.puts
		if was := s.all[i.ID]; was != nil {
			i.CreateRevision = was.CreateRevision
		}
		s.all[i.ID] = i
	}
}

// change writes an instance again.
func (s *service) change(id string, by func(*rollcall.Instance)) {
	i := s.all[id].Clone()
	by(i)
	s.put(i)
}

func (s *service) remove(ids ...string) {
	for _, id := range ids {
		delete(s.all, id)
	}
}

// next returns the view of what was put and removed.
func (s *service) next() *rollcall.View {
	v := &rollcall.View{Service: "svc", Revision: s.view.Revision + 1}
	for _, id := range slices.Sorted(maps.Keys(s.all)) {
		v.Instances = append(v.Instances, s.all[id])
	}
	v.Updates = v.Since(s.view)
	s.view = v
	return v
}

// addr is the address of the instance n, and its id.
func addr(n int) string { return fmt.Sprintf("10.0.%d.%d:80", n/250, n%250) }

// instance is the instance n, of the default weight unless something is changed about it.
func instance(n int, changes ...func(*rollcall.Instance)) *rollcall.Instance {
	i := &rollcall.Instance{ID: addr(n), Addr: addr(n), Weight: rollcall.DefaultWeight, State: rollcall.StateServing, Incarnation: "1"}
	for _, change := range changes {
		change(i)
	}
	return i
}

// instances are those from one number to another, without it.
func instances(from, to int, changes ...func(*rollcall.Instance)) []*rollcall.Instance {
	var all []*rollcall.Instance
	for n := from; n < to; n++ {
		all = append(all, instance(n, changes...))
	}
	return all
}

func weighing(weight int) func(*rollcall.Instance) {
	return func(i *rollcall.Instance) { i.Weight = weight }
}

func inZone(zone string) func(*rollcall.Instance) {
	return func(i *rollcall.Instance) { i.Zone = zone }
}

func ofVersion(version string) func(*rollcall.Instance) {
	return func(i *rollcall.Instance) { i.Version = version }
}

func draining(i *rollcall.Instance) { i.State = rollcall.StateDraining }

func serving(i *rollcall.Instance) { i.State = rollcall.StateServing }

func restarted(i *rollcall.Instance) { i.Incarnation += "1" }

// connected returns a channel to a service, all of whose connections stand.
func connected(t tb, zone string, cfg Config, instances ...*rollcall.Instance) (*channel, *service) {
	c, s := newChannel(t, zone, cfg), newService(instances...)
	c.show(s.next())
	c.connect()
	c.quiet()
	return c, s
}

// sum adds up what the instances of each kind have.
func sum[N int | float64](s *service, of map[string]N, kind func(*rollcall.Instance) string) map[string]N {
	sums := make(map[string]N)
	for id, n := range of {
		sums[kind(s.all[id])] += n
	}
	return sums
}

func zoneOf(i *rollcall.Instance) string { return i.Zone }

func versionOf(i *rollcall.Instance) string { return i.Version }
