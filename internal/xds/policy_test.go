package xds

import (
	"strings"
	"testing"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/rollcall-io/rollcall"
)

func policyOfEverything() *rollcall.Policy {
	return &rollcall.Policy{
		Balancing: rollcall.Balancing{
			Pick: rollcall.LeastRequest, Split: map[string]float64{"v2": 10}, SplitHeader: "x-user",
			Subset: rollcall.Subset{Size: 50}, SlowStart: 30 * time.Second,
			Ejection: rollcall.Ejection{Failures: 5, Time: 10 * time.Second, MaxPercent: 10},
		},
		Timeout:  1500 * time.Millisecond,
		Retry:    &rollcall.Retry{Attempts: 3, Backoff: time.Microsecond, MaxBackoff: time.Second, On: []string{"UNAVAILABLE", "ABORTED", "INTERNAL"}},
		Revision: 5,
	}
}

func actionOf(o *outlook) *route.RouteAction {
	return o.route().GetVirtualHosts()[0].GetRoutes()[0].GetRoute()
}

func TestAPolicyBecomesARouteAndACluster(t *testing.T) {
	t.Parallel()
	v := view("s", "10.0.0.1:1", "10.0.0.2:1")
	v.Instances[1].Version = "v2"
	v.Policy = policyOfEverything()
	if err := v.Policy.Validate(); err != nil {
		t.Fatal(err)
	}
	o := newOutlook("s", v)
	action := actionOf(o)
	if d := action.GetMaxStreamDuration().GetMaxStreamDuration().AsDuration(); d != 1500*time.Millisecond {
		t.Errorf("a time limit of %v", d)
	}
	retry := action.GetRetryPolicy()
	if retry.GetRetryOn() != "internal,unavailable" || retry.GetNumRetries().GetValue() != 2 ||
		retry.GetRetryBackOff().GetBaseInterval().AsDuration() != time.Millisecond || retry.GetRetryBackOff().GetMaxInterval().AsDuration() != time.Second {
		t.Errorf("tries again so: %v", retry)
	}
	equal(t, "weights", weights(action), map[string]uint32{"s?version=v2": 100_000, "s": 900_000})
	c := o.cluster(name{service: "s"})
	outlier := c.GetOutlierDetection()
	if outlier.GetFailurePercentageRequestVolume().GetValue() != 5 || outlier.GetMaxEjectionPercent().GetValue() != 10 ||
		outlier.GetEnforcingSuccessRate() == nil || outlier.GetEnforcingSuccessRate().GetValue() != 0 || outlier.GetBaseEjectionTime().AsDuration() != 10*time.Second {
		t.Errorf("leaves out so: %v", outlier)
	}
	if most := c.GetCircuitBreakers().GetThresholds()[0].GetMaxRequests().GetValue(); most != 1<<32-1 {
		t.Errorf("at most %d calls at a time, of which the policy says nothing", most)
	}
	if list := c.GetLoadBalancingPolicy().GetPolicies(); len(list) != 1 || list[0].GetTypedExtensionConfig().GetName() != "envoy.load_balancing_policies.wrr_locality" {
		t.Errorf("spreads so: %v", list)
	}
}

func weights(action *route.RouteAction) map[string]uint32 {
	found := map[string]uint32{}
	for _, c := range action.GetWeightedClusters().GetClusters() {
		found[c.GetName()] = c.GetWeight().GetValue()
	}
	if c := action.GetCluster(); c != "" {
		found[c] = 0
	}
	return found
}

func TestWithoutAPolicyNothingIsDecidedForTheClients(t *testing.T) {
	t.Parallel()
	o := newOutlook("s", view("s", "10.0.0.1:1"))
	action, c := actionOf(o), o.cluster(name{service: "s"})
	if action.GetRetryPolicy() != nil || action.GetMaxStreamDuration() != nil || c.GetOutlierDetection() != nil || c.GetLoadBalancingPolicy() != nil {
		t.Errorf("%v\n%v", action, c)
	}
	equal(t, "the only cluster", weights(action), map[string]uint32{"s": 0})
}

func TestASplitGivesWhatNobodyCanTakeToTheOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what     string
		versions []string
		split    map[string]float64
		want     map[string]uint32
	}{
		{"all there", []string{"v1", "v2", "v3"}, map[string]float64{"v2": 10, "v3": 30}, map[string]uint32{"s?version=v2": 100_000, "s?version=v3": 300_000, "s": 600_000}},
		{"one is missing", []string{"v1", "v3"}, map[string]float64{"v2": 10, "v3": 30}, map[string]uint32{"s?version=v2": 1, "s?version=v3": 300_000, "s": 600_000}},
		{"no others", []string{"v2", "v3"}, map[string]float64{"v2": 10, "v3": 30}, map[string]uint32{"s?version=v2": 100_000, "s?version=v3": 300_000, "s": 1}},
		{"one only", []string{"v2"}, map[string]float64{"v2": 10, "v3": 30}, map[string]uint32{"s?version=v2": 100_000, "s?version=v3": 1, "s": 1}},
		{"none at all", nil, map[string]float64{"v2": 10}, map[string]uint32{"s?version=v2": 100_000, "s": 900_000}},
		{"nothing for those who are there", []string{"v1"}, map[string]float64{"v2": 100}, map[string]uint32{"s?version=v2": 0}},
		{"one that nobody can have", []string{"v1", "v2"}, map[string]float64{"v2": 10, strings.Repeat("x", 300): 50}, map[string]uint32{"s?version=v2": 100_000, "s": 400_000}},
		{"nothing for one", []string{"v1", "v2"}, map[string]float64{"v2": 0}, map[string]uint32{"s": 0}},
		{"a thousandth of a percent", []string{"v1", "v2"}, map[string]float64{"v2": 0.001}, map[string]uint32{"s?version=v2": 10, "s": 999_990}},
	} {
		v := &rollcall.View{Service: "s", Policy: &rollcall.Policy{Balancing: rollcall.Balancing{Split: c.split}}}
		for n, version := range c.versions {
			i := instance("10.0.0.1:"+string(rune('1'+n)), 1)
			i.Version = version
			v.Instances = append(v.Instances, i)
		}
		equal(t, c.what, weights(actionOf(newOutlook("s", v))), c.want)
	}
}

func TestRetriesOnCodesThatTheProtocolDoesNotKnowAreNone(t *testing.T) {
	t.Parallel()
	v := view("s", "10.0.0.1:1")
	v.Policy = &rollcall.Policy{Retry: &rollcall.Retry{Attempts: 2, On: []string{"ABORTED"}}}
	if r := actionOf(newOutlook("s", v)).GetRetryPolicy(); r != nil {
		t.Errorf("%v", r)
	}
}

func TestNamesAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]name{
		"s": {service: "s"}, "a.B-c_9": {service: "a.B-c_9"}, "s?version=v2": {"s", "v2"}, "s?version=a%26b+c": {"s", "a&b c"},
	} {
		if got, ok := parseName(clusters, text); !ok || got != want || got.String() != text {
			t.Errorf("%q is read as %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-", "a/b", "a b", "*", "s?", "s?version=", "s?v=1", "s?version=%", "s?version=a b", "s?version=%61", "é", "xdstp://x/y/s", string(make([]byte, 5000))} {
		if n, ok := parseName(clusters, text); ok {
			t.Errorf("%q is read as %+v", text, n)
		}
	}
	if _, ok := parseName(listeners, "s?version=v2"); ok {
		t.Error("a listener of one version")
	}
}
