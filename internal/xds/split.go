package xds

import (
	"maps"
	"math"
	"slices"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rollcall-io/rollcall"
)

// introduction is how long a route has a new cluster before calls are sent to it. A gRPC client that is told of both at once may choose
// the cluster for a call a moment before it knows it, and fails the call.
const introduction = 2 * time.Second

// percent is what a percentage is counted in, so that a thousandth of one is something.
const percent = 10_000

// split is how the calls of a service are divided among the clusters of its versions. Which clusters there are depends on the policy
// alone: not on who is there.
type split struct {
	parts  map[string]float64 // in percent, by version; the others share what is left
	coming []string           // versions that get their part soon
}

// splitOf is what a policy wants.
func splitOf(p *rollcall.Policy) split {
	if p == nil {
		return split{}
	}
	return split{parts: p.Split}
}

// versions returns those that calls are sent to, "" for the rest.
func (s split) versions() []string {
	var list []string
	left := 100.0
	for _, version := range slices.Sorted(maps.Keys(s.parts)) {
		left -= s.parts[version]
		if part(s.parts[version]) > 0 && len(version) <= maxVersion {
			list = append(list, version)
		}
	}
	if part(left) > 0 {
		list = append(list, "")
	}
	return list
}

func part(percentage float64) uint32 { return uint32(math.Round(max(percentage, 0) * percent)) }

// of returns the part of a version.
func (s split) of(version string) uint32 {
	if version != "" {
		return part(s.parts[version])
	}
	left := 100.0
	for _, version := range slices.Sorted(maps.Keys(s.parts)) {
		left -= s.parts[version]
	}
	return part(left)
}

// apart reports whether a version has a cluster of its own, and is no part of the rest.
func (s split) apart(version string) bool {
	_, apart := s.parts[version]
	return apart
}

// toward returns the split on the way to another one: as it is, and with the clusters that come, if there are any.
func (s split) toward(next split) (between split, arrived bool) {
	there := s.versions()
	between = split{parts: s.parts}
	for _, version := range next.versions() {
		if !slices.Contains(there, version) {
			between.coming = append(between.coming, version)
		}
	}
	if len(between.coming) == 0 {
		return next, true
	}
	return between, false
}

// lead says which clusters the calls go to. What a version would get of whom nobody serves, the others take over in proportion; a
// millionth of the calls keeps its cluster known to the clients, and is taken by the others, too.
func (s split) lead(action *route.RouteAction, o *outlook) {
	served := map[string]bool{} // "" stands for the rest
	for _, m := range o.members {
		switch {
		case !m.serves():
		case s.apart(m.version):
			served[m.version] = true
		default:
			served[""] = true
		}
	}
	versions := s.versions()
	anybody := slices.ContainsFunc(versions, func(version string) bool { return served[version] })
	var list []*route.WeightedCluster_ClusterWeight
	add := func(version string, weight uint32) {
		n := name{o.service, version}
		list = append(list, &route.WeightedCluster_ClusterWeight{Name: n.String(), Weight: wrapperspb.UInt32(weight)})
	}
	for _, version := range versions {
		weight := s.of(version)
		if anybody && !served[version] {
			weight = 1
		}
		add(version, weight)
	}
	for _, version := range s.coming {
		add(version, 1)
	}
	if len(list) == 1 {
		action.ClusterSpecifier = &route.RouteAction_Cluster{Cluster: list[0].GetName()}
		return
	}
	all := &route.WeightedCluster{Clusters: list}
	total := uint32(0)
	for _, c := range list {
		total += c.GetWeight().GetValue()
	}
	//lint:ignore SA1019 what is built on gRPC C++ before 1.53 refuses weights that do not add up to it, which is 100 if it is left out
	all.TotalWeight = wrapperspb.UInt32(total)
	action.ClusterSpecifier = &route.RouteAction_WeightedClusters{WeightedClusters: all}
}
