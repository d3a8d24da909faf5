package endpoints

import (
	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/resolver"
)

func instance(id, addr string, created int64) *rollcall.Instance {
	return &rollcall.Instance{
		ID: id, Addr: addr, State: rollcall.StateServing, Weight: rollcall.DefaultWeight,
		CreateRevision: created, Revision: created,
	}
}

// with returns an instance as it is after a further write.
func with(i *rollcall.Instance, change func(*rollcall.Instance)) *rollcall.Instance {
	i = i.Clone()
	i.Revision++
	change(i)
	return i
}

func drained(i *rollcall.Instance) { i.State = rollcall.StateDraining }

// world is a service as its registry sees it, and a reducer that is told of each change.
type world struct {
	*Reducer
	now *rollcall.View
}

func newWorld() *world {
	return &world{Reducer: NewReducer("jie-test", "", nil), now: &rollcall.View{}}
}

// become tells the reducer that the instances are now these, sorted by id.
func (w *world) become(instances ...*rollcall.Instance) (*View, bool) {
	next := &rollcall.View{Service: "jie-test", Instances: instances}
	next.Updates = next.Since(w.now)
	w.now = next
	return w.Apply(next.Updates)
}

// ids returns who is behind the endpoints.
func ids(list []resolver.Endpoint) []string {
	got := []string{}
	for _, ep := range list {
		i, ok := InstanceOf(ep)
		if !ok || len(ep.Addresses) != 1 || ep.Addresses[0].Addr != i.Addr || ep.Addresses[0].Attributes != nil {
			got = append(got, "malformed")
			continue
		}
		got = append(got, i.ID)
	}
	return got
}
