package resolver

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

func instance(id, addr string, created int64) *rollcall.Instance {
	return &rollcall.Instance{
		ID: id, Addr: addr, State: rollcall.StateServing, Weight: rollcall.DefaultWeight,
		CreateRevision: created, Revision: created,
	}
}

func viewOf(instances ...*rollcall.Instance) *rollcall.View {
	v := &rollcall.View{Service: "jie-test", Instances: instances}
	for _, i := range instances {
		v.Revision = max(v.Revision, i.Revision)
	}
	return v
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

func TestEndpointsAreWhatIsToBeCalled(t *testing.T) {
	a, b, c := instance("a", "h:1", 1), instance("b", "h:2", 2), instance("c", "h:3", 3)
	draining := instance("b", "h:2", 2)
	draining.State = rollcall.StateDraining
	alone := instance("d", "h:4", 4)
	alone.State = rollcall.StateDraining
	leftover, younger, rewritten := instance("x", "h:1", 1), instance("y", "h:1", 5), instance("z", "h:1", 1)
	rewritten.Revision = 9
	drained := instance("y", "h:1", 5)
	drained.State = rollcall.StateDraining

	for name, tc := range map[string]struct {
		view *rollcall.View
		want []string
	}{
		"all that serve, by id":                       {viewOf(a, b, c), []string{"a", "b", "c"}},
		"not one that drains":                         {viewOf(a, draining, c), []string{"a", "c"}},
		"one that drains when there is no other":      {viewOf(alone), []string{"d"}},
		"none":                                        {viewOf(), []string{}},
		"of one address the key that appeared last":   {viewOf(b, leftover, younger), []string{"b", "y"}},
		"of keys that appeared at once, the last put": {viewOf(leftover, rewritten), []string{"z"}},
		"whoever is listed first":                     {viewOf(younger, rewritten), []string{"y"}},
		"nobody of an address whose newest drains":    {viewOf(b, leftover, drained), []string{"b"}},
		"the newest, draining, when all share it":     {viewOf(leftover, drained), []string{"y"}},
	} {
		var e endpoints
		e.replace(tc.view)
		if diff := cmp.Diff(tc.want, ids(e.list)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEndpointsOfUnchangedInstancesStay(t *testing.T) {
	var e endpoints
	if !e.replace(viewOf(instance("a", "h:1", 1), instance("b", "h:2", 2))) {
		t.Fatal("the first view changes nothing")
	}
	before := e.list

	again := viewOf(instance("a", "h:1", 7), instance("b", "h:2", 8)) // the same two under a new lease
	if e.replace(again) {
		t.Error("instances put again as they were count as a change")
	}

	heavier := instance("b", "h:2", 2)
	heavier.Weight = 50
	if !e.replace(viewOf(instance("a", "h:1", 7), heavier)) {
		t.Fatal("a new weight does not count as a change")
	}
	if e.list[0].Attributes != before[0].Attributes {
		t.Error("the unchanged endpoint was made anew")
	}
	if got, _ := InstanceOf(e.list[1]); got != heavier {
		t.Errorf("endpoint b carries %+v, want %+v", got, heavier)
	}
	if old, _ := InstanceOf(before[1]); old.Weight != rollcall.DefaultWeight {
		t.Error("the list that gRPC was given was changed in place")
	}
	if !e.replace(viewOf(heavier)) || !slices.Equal(ids(e.list), []string{"b"}) {
		t.Errorf("after a left: %v, want b", ids(e.list))
	}
}

func TestAttributesAreEqualUnlessTheChannelCanTell(t *testing.T) {
	base := func() *rollcall.Instance {
		i := instance("a", "h:1", 1)
		i.Incarnation, i.Zone, i.Version = "1", "z", "v"
		i.Addrs, i.Metadata = map[string]string{"http": "h:80"}, map[string]string{"team": "a"}
		return i
	}
	for name, tc := range map[string]struct {
		change func(*rollcall.Instance)
		equal  bool
	}{
		"nothing":     {func(*rollcall.Instance) {}, true},
		"bookkeeping": {func(i *rollcall.Instance) { i.Revision, i.CreateRevision, i.Holder = 8, 8, "other" }, true},
		"id":          {func(i *rollcall.Instance) { i.ID = "b" }, false},
		"incarnation": {func(i *rollcall.Instance) { i.Incarnation = "2" }, false},
		"state":       {func(i *rollcall.Instance) { i.State = rollcall.StateDraining }, false},
		"weight":      {func(i *rollcall.Instance) { i.Weight = 1 }, false},
		"zone":        {func(i *rollcall.Instance) { i.Zone = "y" }, false},
		"version":     {func(i *rollcall.Instance) { i.Version = "w" }, false},
		"addrs":       {func(i *rollcall.Instance) { i.Addrs["http"] = "h:81" }, false},
		"metadata":    {func(i *rollcall.Instance) { i.Metadata["team"] = "b" }, false},
		"raw":         {func(i *rollcall.Instance) { i.RawMetadata = []byte("1") }, false},
	} {
		other := base()
		tc.change(other)
		if got := newEndpoint(base()).Attributes.Equal(newEndpoint(other).Attributes); got != tc.equal {
			t.Errorf("%s changed: Equal is %v, want %v", name, got, tc.equal)
		}
	}
}

func TestForeignEndpointHasNoInstance(t *testing.T) {
	for _, ep := range []resolver.Endpoint{{}, {Attributes: attributes.New("other", 1)}} {
		if i, ok := InstanceOf(ep); ok || i != nil {
			t.Errorf("InstanceOf(%v) = %v, %v; want nil, false", ep, i, ok)
		}
	}
}
