package endpoints

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

func TestEndpointsAreWhatIsToBeCalled(t *testing.T) {
	t.Parallel()
	a, b, c := instance("a", "h:1", 1), instance("b", "h:2", 2), instance("c", "h:3", 3)
	leftover, younger := instance("x", "h:1", 1), instance("y", "h:1", 5)
	rewritten := with(instance("z", "h:1", 1), func(i *rollcall.Instance) { i.Revision = 9 })

	for name, tc := range map[string]struct {
		is   []*rollcall.Instance
		want []string
	}{
		"all that serve, by id":                       {[]*rollcall.Instance{a, b, c}, []string{"a", "b", "c"}},
		"not one that drains":                         {[]*rollcall.Instance{a, with(b, drained), c}, []string{"a", "c"}},
		"one that drains when there is no other":      {[]*rollcall.Instance{with(c, drained)}, []string{"c"}},
		"none":                                        {nil, []string{}},
		"of one address the key that appeared last":   {[]*rollcall.Instance{b, leftover, younger}, []string{"b", "y"}},
		"of keys that appeared at once, the last put": {[]*rollcall.Instance{leftover, rewritten}, []string{"z"}},
		"whoever is listed first":                     {[]*rollcall.Instance{younger, rewritten}, []string{"y"}},
		"nobody of an address whose newest drains":    {[]*rollcall.Instance{b, leftover, with(younger, drained)}, []string{"b"}},
		"the newest, draining, when all share it":     {[]*rollcall.Instance{leftover, with(younger, drained)}, []string{"y"}},
	} {
		v, changed := newWorld().become(tc.is...)
		if diff := cmp.Diff(tc.want, ids(v.Endpoints())); diff != "" || !changed {
			t.Errorf("%s, changed %v (-want +got):\n%s", name, changed, diff)
		}
		if v.Endpoints() == nil {
			t.Errorf("%s: Endpoints is nil: gRPC would look at Addresses instead", name)
		}
	}
}

func TestAttributesAreEqualUnlessTheChannelCanTell(t *testing.T) {
	t.Parallel()
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
		"suspicion":   {func(i *rollcall.Instance) { i.Suspect = true }, false},
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
	t.Parallel()
	for _, ep := range []resolver.Endpoint{{}, {Attributes: attributes.New("other", 1)}} {
		if i, ok := InstanceOf(ep); ok || i != nil {
			t.Errorf("InstanceOf(%v) = %v, %v; want nil, false", ep, i, ok)
		}
	}
}
