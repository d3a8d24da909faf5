package xds

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rollcall-io/rollcall"
)

// served makes a service with a route that somebody asked for, published with a split at a time.
func (sv *service) divide(parts map[string]float64, at time.Time) (got map[string]uint32, again time.Time) {
	v := view("s", "10.0.0.1:1", "10.0.0.2:1")
	v.Instances[1].Version = "v2"
	if parts != nil {
		v.Policy = &rollcall.Policy{Balancing: rollcall.Balancing{Split: parts}, Revision: at.UnixNano()}
	}
	again = sv.publish(v, at)
	return weights(actionOf(sv.outlook(false))), again
}

func TestANewClusterIsInTheRouteBeforeCallsAreSentToIt(t *testing.T) {
	t.Parallel()
	sv := &service{s: newServer(nil, Config{}), name: "s", cells: map[cellKey]*cell{}}
	t.Cleanup(sv.s.cancel)
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
		got, again := sv.divide(step.parts, after(step.at))
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
