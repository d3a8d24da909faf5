package xds

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall"
)

// refusal returns why gRPC's clients would refuse an assignment, or pass over a part of it; "" when they would not.
func refusal(a *endpoint.ClusterLoadAssignment, numeric bool) string {
	if err := a.ValidateAll(); err != nil {
		return err.Error()
	}
	seen, priorities, sums := map[string]bool{}, map[uint32]map[string]bool{}, map[uint32]uint64{}
	for _, l := range a.GetEndpoints() {
		if l.GetLocality() == nil {
			return "a locality without a name"
		}
		if l.GetLoadBalancingWeight().GetValue() == 0 {
			return "a locality without a weight is passed over"
		}
		p := l.GetPriority()
		if priorities[p] == nil {
			priorities[p] = map[string]bool{}
		}
		if id := l.GetLocality().String(); priorities[p][id] {
			return "a locality twice in a priority: " + id
		} else {
			priorities[p][id] = true
		}
		if sums[p] += uint64(l.GetLoadBalancingWeight().GetValue()); sums[p] > math.MaxUint32 {
			return "localities too heavy together"
		}
		sum := uint64(0)
		for _, e := range l.GetLbEndpoints() {
			s := e.GetEndpoint().GetAddress().GetSocketAddress()
			addr := fmt.Sprint(s.GetAddress(), " ", s.GetPortValue())
			if seen[addr] {
				return "an address twice: " + addr
			}
			seen[addr] = true
			if _, ok := parseAddr(fmt.Sprintf("[%s]:1", s.GetAddress())); !ok {
				return "not an address: " + addr
			}
			if numeric && !isNumeric(s.GetAddress()) {
				return "not an IP address: " + addr
			}
			if e.GetLoadBalancingWeight().GetValue() == 0 {
				return "an endpoint without a weight"
			}
			if sum += uint64(e.GetLoadBalancingWeight().GetValue()); sum > math.MaxUint32 {
				return "endpoints too heavy together"
			}
		}
	}
	for n := range len(priorities) {
		if priorities[uint32(n)] == nil {
			return fmt.Sprintf("priority %d is missing", n)
		}
	}
	return ""
}

func isNumeric(host string) bool {
	a, ok := parseAddr("[" + host + "]:1")
	return ok && a.numeric
}

func drawView(t *rapid.T) *rollcall.View {
	v := &rollcall.View{Service: "svc"}
	hosts := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "::1", "0:0:0:0:0:0:0:1", "::ffff:10.0.0.1", "Host-1", "host-1", "fe80::1%eth0", "", "a b", "010.0.0.1"}
	for n := range rapid.IntRange(0, 12).Draw(t, "instances") {
		host, port := rapid.SampledFrom(hosts).Draw(t, "host"), rapid.SampledFrom([]int{0, 1, 2, 65535, 65536}).Draw(t, "port")
		i := &rollcall.Instance{
			ID: fmt.Sprint("i", n), Addr: fmt.Sprintf("[%s]:%d", host, port),
			Weight:  rapid.SampledFrom([]int{0, 1, 100, 100, 300, math.MaxInt32, math.MaxInt64, -5}).Draw(t, "weight"),
			Zone:    rapid.SampledFrom([]string{"", "a", "b", "c", "\x00"}).Draw(t, "zone"),
			Version: rapid.SampledFrom([]string{"", "v1", "v2", "v3 &?="}).Draw(t, "version"),
			State:   rapid.SampledFrom([]rollcall.State{"", rollcall.StateServing, rollcall.StateServing, rollcall.StateDraining}).Draw(t, "state"),
			Suspect: rapid.Bool().Draw(t, "suspect"), CreateRevision: rapid.Int64Range(1, 5).Draw(t, "created"),
		}
		if rapid.IntRange(0, 4).Draw(t, "sick") == 0 {
			i.Health = &rollcall.Health{Failing: true}
		}
		v.Instances = append(v.Instances, i)
	}
	if rapid.Bool().Draw(t, "many weights") {
		for n := range 50 {
			v.Instances = append(v.Instances, &rollcall.Instance{ID: fmt.Sprint("m", n), Addr: fmt.Sprintf("10.1.0.%d:1", n), Weight: 100 + n*n, State: rollcall.StateServing})
		}
	}
	switch rapid.IntRange(0, 4).Draw(t, "policy") {
	case 1:
		v.Policy = &rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v1": rapid.Float64Range(0, 50).Draw(t, "v1"), "v3 &?=": rapid.Float64Range(0, 50).Draw(t, "v3")}}}
	case 2:
		v.Policy = &rollcall.Policy{Balancing: rollcall.Balancing{IgnoreZones: true, Pick: rollcall.LeastRequest}}
	case 3:
		v.Policy = &rollcall.Policy{Balancer: "round_robin"}
	case 4:
		v.Policy = policyOfEverything()
	}
	return v
}

func TestNoAssignmentIsRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		o := newOutlook("svc", v)
		s := stance{zone: rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "own zone"), names: rapid.Bool().Draw(t, "names")}
		n := name{"svc", rapid.SampledFrom([]string{"", "", "v1", "v2", "v3 &?=", "v9"}).Draw(t, "cluster")}
		a := o.assignment(n, s)
		if why := refusal(a, !s.names); why != "" {
			t.Fatalf("%s:\n%v", why, a)
		}
		if !proto.Equal(a, o.assignment(n, o.settled(s))) {
			t.Fatalf("another assignment in the settled stance %+v of %+v", o.settled(s), s)
		}
		if again := newOutlook("svc", v).assignment(n, s); !proto.Equal(a, again) {
			t.Fatalf("another assignment at the second time:\n%v\n%v", a, again)
		}
		called, callable := 0, 0
		for _, m := range o.members {
			if m.serves() && (m.numeric || s.names) {
				callable++
			}
		}
		for _, l := range a.GetEndpoints() {
			for _, e := range l.GetLbEndpoints() {
				if e.GetHealthStatus() == core.HealthStatus_HEALTHY {
					called++
				}
			}
		}
		if called != callable {
			t.Fatalf("%d are told of as well, of %d: whatever the cluster, all who serve can be reached", called, callable)
		}
		if callable > 0 && !healthy(a, 0) {
			t.Fatalf("nobody in the first priority serves:\n%v", a)
		}
	})
}

// healthy reports whether anybody in a priority serves.
func healthy(a *endpoint.ClusterLoadAssignment, priority uint32) bool {
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			if l.GetPriority() == priority && e.GetHealthStatus() == core.HealthStatus_HEALTHY {
				return true
			}
		}
	}
	return false
}

func TestEveryResourceIsValid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		o := newOutlook("svc", v)
		if err := o.listener().ValidateAll(); err != nil {
			t.Fatal(err)
		}
		if err := o.route().ValidateAll(); err != nil {
			t.Fatal(err)
		}
		if err := o.cluster(name{"svc", "v1"}).ValidateAll(); err != nil {
			t.Fatal(err)
		}
		again := newOutlook("svc", v)
		for k := range kinds {
			first, err := o.encode(cellKey{kind: k, name: name{service: "svc"}})
			if err != nil {
				t.Fatal(err)
			}
			if second, _ := again.encode(cellKey{kind: k, name: name{service: "svc"}}); !bytes.Equal(first, second) {
				t.Fatalf("%s: other bytes at the second time", typeURLs[k])
			}
		}
		weighted := actionOf(o).GetWeightedClusters()
		//lint:ignore SA1019 older clients hold the weights against it
		total := int64(weighted.GetTotalWeight().GetValue())
		for _, c := range weighted.GetClusters() {
			total -= int64(c.GetWeight().GetValue())
			n, ok := parseName(clusters, c.GetName())
			if !ok || n.service != "svc" {
				t.Fatalf("a route to %q, which is no cluster's name", c.GetName())
			}
		}
		if total != 0 {
			t.Fatalf("the weights do not add up to what they are said to: %v", weighted)
		}
	})
}

func TestOfInstancesAtOneAddressTheNewestIsTold(t *testing.T) {
	t.Parallel()
	v := view("s", "10.0.0.1:1")
	old, young := instance("10.0.0.1:1", 3), instance("[::ffff:10.0.0.1]:1", 9)
	old.ID, old.Zone, young.Zone = "old", "a", "b"
	v.Instances = []*rollcall.Instance{young, old}
	list, _ := membersOf(v)
	if len(list) != 1 || list[0].zone != "b" {
		t.Errorf("%+v", list)
	}
}

func TestWhoDrainsOrIsUnwellIsToldSoUnlessAllAre(t *testing.T) {
	t.Parallel()
	well, drains, sick, suspect := instance("10.0.0.1:1", 1), instance("10.0.0.2:1", 1), instance("10.0.0.3:1", 1), instance("10.0.0.4:1", 1)
	drains.Override = &rollcall.Override{Drain: true}
	sick.Health = &rollcall.Health{Failing: true}
	suspect.Suspect = true
	all := []*rollcall.Instance{well, drains, sick, suspect}
	list, _ := membersOf(&rollcall.View{Instances: all})
	want := []core.HealthStatus{core.HealthStatus_HEALTHY, core.HealthStatus_DRAINING, core.HealthStatus_UNHEALTHY, core.HealthStatus_HEALTHY}
	for n, m := range list {
		if m.health != want[n] {
			t.Errorf("%s is %v", m.host, m.health)
		}
	}
	list, _ = membersOf(&rollcall.View{Instances: all[1:3]})
	for _, m := range list {
		if m.health != core.HealthStatus_HEALTHY {
			t.Errorf("%s is %v, when there is nobody else", m.host, m.health)
		}
	}
}

// describe writes an assignment as "priority zone/sub-zone weight: hosts".
func describe(a *endpoint.ClusterLoadAssignment) (lines []string) {
	total := map[uint32]float64{}
	for _, l := range a.GetEndpoints() {
		total[l.GetPriority()] += float64(l.GetLoadBalancingWeight().GetValue())
	}
	for _, l := range a.GetEndpoints() {
		line := fmt.Sprintf("%d %s/%s %.1f%%:", l.GetPriority(), l.GetLocality().GetZone(), l.GetLocality().GetSubZone(), 100*float64(l.GetLoadBalancingWeight().GetValue())/total[l.GetPriority()])
		for _, e := range l.GetLbEndpoints() {
			line += " " + e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress()
		}
		lines = append(lines, line)
	}
	return lines
}

func TestZonesBecomePrioritiesAndWeightsLocalities(t *testing.T) {
	t.Parallel()
	member := func(addr, zone string, weight int) *rollcall.Instance {
		i := instance(addr, 1)
		i.Zone, i.Weight = zone, weight
		return i
	}
	even := []*rollcall.Instance{member("10.0.0.1:1", "a", 100), member("10.0.0.2:1", "b", 100), member("10.0.0.3:1", "", 100)}
	thin := []*rollcall.Instance{
		member("10.0.0.1:1", "a", 100), member("10.0.0.2:1", "b", 100), member("10.0.0.3:1", "b", 200), member("10.0.0.4:1", "c", 50),
	}
	for _, c := range []struct {
		what      string
		instances []*rollcall.Instance
		policy    *rollcall.Policy
		zone      string
		want      []string
	}{
		{"a zone of its own", even[:2], nil, "a", []string{"0 a/ 100.0%: 10.0.0.1", "1 b/ 100.0%: 10.0.0.2"}},
		{"instances of no zone", even, nil, "a", []string{"0 / 33.3%: 10.0.0.3", "0 a/ 66.7%: 10.0.0.1", "1 b/ 100.0%: 10.0.0.2"}},
		{"no zone", even, nil, "", []string{"0 / 33.3%: 10.0.0.3", "0 a/ 33.3%: 10.0.0.1", "0 b/ 33.3%: 10.0.0.2"}},
		{"a zone without anybody", even, nil, "z", []string{"0 / 33.3%: 10.0.0.3", "0 a/ 33.3%: 10.0.0.1", "0 b/ 33.3%: 10.0.0.2"}},
		{"zones do not matter", even, &rollcall.Policy{Balancing: rollcall.Balancing{IgnoreZones: true}}, "a", []string{"0 / 100.0%: 10.0.0.1 10.0.0.2 10.0.0.3"}},
		{"another policy", thin, &rollcall.Policy{Balancer: "round_robin"}, "a", []string{"0 / 100.0%: 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4"}},
		{"a thin zone", thin, nil, "a", []string{ // of 450 it has 100, where 150 would be fair
			"0 a/ 66.7%: 10.0.0.1", "0 b/ 11.1%: 10.0.0.2", "0 b/weight=200 22.2%: 10.0.0.3", "1 c/weight=50 100.0%: 10.0.0.4",
		}},
		{"weights that are close", []*rollcall.Instance{member("10.0.0.1:1", "", 160), member("10.0.0.2:1", "", 161)}, nil, "", []string{
			"0 /weight=160 49.8%: 10.0.0.1", "0 /weight=161 50.2%: 10.0.0.2",
		}},
		{"a thick zone", thin, nil, "b", []string{
			"0 b/ 33.3%: 10.0.0.2", "0 b/weight=200 66.7%: 10.0.0.3", "1 a/ 66.7%: 10.0.0.1", "1 c/weight=50 33.3%: 10.0.0.4",
		}},
	} {
		v := &rollcall.View{Service: "s", Instances: c.instances, Policy: c.policy}
		equal(t, c.what, describe(newOutlook("s", v).assignment(name{service: "s"}, stance{zone: c.zone})), c.want)
	}
}

func TestAVersionOfWhichNobodyIsThereIsStoodInForByTheOthers(t *testing.T) {
	t.Parallel()
	one, two := instance("10.0.0.1:1", 1), instance("10.0.0.2:1", 1)
	one.Version, two.Version = "v1", "v2"
	v := &rollcall.View{Service: "s", Instances: []*rollcall.Instance{one, two}, Policy: &rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v2": 10, "v3": 5}}}}
	o := newOutlook("s", v)
	equal(t, "v2", describe(o.assignment(name{"s", "v2"}, stance{})), []string{"0 / 100.0%: 10.0.0.2", "1 / 100.0%: 10.0.0.1"})
	equal(t, "v3", describe(o.assignment(name{"s", "v3"}, stance{})), []string{"0 / 100.0%: 10.0.0.1 10.0.0.2"})
	equal(t, "the rest", describe(o.assignment(name{"s", ""}, stance{})), []string{"0 / 100.0%: 10.0.0.1", "1 / 100.0%: 10.0.0.2"})
}

func TestHostsNamesAreForThoseWhoCanDialThem(t *testing.T) {
	t.Parallel()
	v := view("s", "10.0.0.1:1", "Db.Example:1")
	o := newOutlook("s", v)
	equal(t, "Go", describe(o.assignment(name{service: "s"}, stance{names: true})), []string{"0 / 100.0%: 10.0.0.1 db.example"})
	equal(t, "C++", describe(o.assignment(name{service: "s"}, stance{})), []string{"0 / 100.0%: 10.0.0.1"})
}
