package xds

import (
	"testing"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
)

// routed is a service whose route somebody asked for.
func routed(t *testing.T) *service {
	t.Helper()
	sv := &service{s: newServer(nil, Config{}), name: "s", cells: map[cellKey]*cell{}}
	t.Cleanup(sv.s.cancel)
	key := cellKey{kind: routes, name: name{service: "s"}}
	sv.cells[key] = &cell{service: sv, key: key}
	return sv
}

// divide publishes the service with a split at a time, and returns what its route says.
func (sv *service) divide(t *testing.T, parts map[string]float64, at time.Time, versions ...string) (got map[string]uint32, again time.Time) {
	t.Helper()
	v := view("s", "10.0.0.1:1", "10.0.0.2:1")
	for n, version := range versions {
		v.Instances[n].Version, v.Instances[n].Revision = version, at.UnixNano()
	}
	if parts != nil {
		v.Policy = &rollcall.Policy{Balancing: rollcall.Balancing{Split: parts}}
	}
	again = sv.publish(v, at)
	for _, c := range sv.cells {
		r := &route.RouteConfiguration{}
		if err := proto.Unmarshal(c.resource.Load().value, r); err != nil {
			t.Fatal(err)
		}
		got = weights(r.GetVirtualHosts()[0].GetRoutes()[0].GetRoute())
	}
	return got, again
}

func TestARouteFollowsWhoIsThereWhenCallsAreDivided(t *testing.T) {
	t.Parallel()
	sv := routed(t)
	parts, now := map[string]float64{"v2": 10}, time.Now()
	there, _ := sv.divide(t, parts, now, "v1", "v2")
	gone, _ := sv.divide(t, parts, now.Add(1), "v1", "v1")
	equal(t, "with a server of v2", there, map[string]uint32{"s": 900_000, "s?version=v2": 100_000})
	equal(t, "without", gone, map[string]uint32{"s": 900_000, "s?version=v2": 1})
}

func TestANewClusterIsInTheRouteBeforeCallsAreSentToIt(t *testing.T) {
	t.Parallel()
	sv := routed(t)
	begun := time.Now()
	after := func(d time.Duration) time.Time { return begun.Add(d) }
	for _, step := range []struct {
		at    time.Duration
		parts map[string]float64
		want  map[string]uint32
		again time.Duration
	}{
		{0, nil, map[string]uint32{"s": 0}, 0},
		{1, map[string]float64{"v2": 10}, map[string]uint32{"s": 1_000_000, "s?version=v2": 1}, 1 + introduction},
		{2, map[string]float64{"v2": 20}, map[string]uint32{"s": 1_000_000, "s?version=v2": 1}, 1 + introduction},
		{1 + introduction, map[string]float64{"v2": 20}, map[string]uint32{"s": 800_000, "s?version=v2": 200_000}, 0},
		{2 * introduction, map[string]float64{"v2": 30}, map[string]uint32{"s": 700_000, "s?version=v2": 300_000}, 0},
		{3 * introduction, map[string]float64{"v2": 30, "v3": 70}, map[string]uint32{"s": 700_000, "s?version=v2": 300_000, "s?version=v3": 1}, 4 * introduction},
		{4 * introduction, map[string]float64{"v2": 30, "v3": 70}, map[string]uint32{"s?version=v2": 300_000, "s?version=v3": 1}, 0}, // nobody has v3
		{5 * introduction, nil, map[string]uint32{"s": 1, "s?version=v2": 300_000, "s?version=v3": 1}, 6 * introduction},
		{6 * introduction, nil, map[string]uint32{"s": 0}, 0},
	} {
		got, again := sv.divide(t, step.parts, after(step.at), "", "v2")
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("at %v (-want +got):\n%s", step.at, diff)
		}
		want := time.Time{}
		if step.again != 0 {
			want = after(step.again)
		}
		if diff := cmp.Diff(want, again, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("at %v, to be published once more:\n%s", step.at, diff)
		}
	}
}
