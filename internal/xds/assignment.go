package xds

import (
	"slices"

	"github.com/rollcall-io/rollcall"
)

// outlook is what clients are told of a service, before it is put into words: the same for all of them but for where they stand.
type outlook struct {
	service string
	policy  *rollcall.Policy
	split   split
	members []member
	zones   map[string]bool // that members are in
	named   bool            // some member's host is no IP address
	lost    int             // instances whose address nobody can dial
}

func newOutlook(service string, v *rollcall.View) *outlook {
	o := &outlook{service: service, zones: map[string]bool{}}
	if v == nil {
		return o
	}
	o.policy, o.split = v.Policy, splitOf(v.Policy)
	o.members, o.lost = membersOf(v)
	for _, m := range o.members {
		o.zones[m.zone] = true
		o.named = o.named || !m.numeric
	}
	return o
}

// stance is what makes clients see a service differently.
type stance struct {
	zone   string // the client's own
	names  bool   // it can dial a host's name
	hidden bool   // it may not be told of the service
}

// settled returns the stance that leads to the same assignment and is the same for as many as can be.
func (o *outlook) settled(s stance) stance {
	if s.hidden {
		return stance{hidden: true}
	}
	if !o.byZone() || !o.zones[s.zone] {
		s.zone = ""
	}
	s.names = s.names && o.named
	return s
}

// byZone reports whether zones count. Another load-balancing policy knows nothing of them, nor of weights.
func (o *outlook) byZone() bool { return !o.policyOf().IgnoreZones && !o.foreign() }

// foreign reports whether the policy has calls spread by another load-balancing policy.
func (o *outlook) foreign() bool {
	return o.policyOf().Balancer != "" && o.policyOf().Balancer != ownBalancer
}

func (o *outlook) policyOf() rollcall.Policy {
	if o.policy == nil {
		return rollcall.Policy{}
	}
	return *o.policy
}

// group returns the members of a cluster, and those who take its calls when it has nobody. A service's own cluster has the versions that
// the split does not name, so that a split moves nobody's connections who stays.
func (o *outlook) group(version string) (own, others []member) {
	if version == "" && len(o.split.parts) == 0 {
		return o.members, nil
	}
	for _, m := range o.members {
		if m.version == version && version != "" || version == "" && !o.split.apart(m.version) {
			own = append(own, m)
		} else {
			others = append(others, m)
		}
	}
	return own, others
}

// arrange returns who is in a cluster, as a client sees it: by priority, and within each by locality.
func (o *outlook) arrange(n name, s stance) [][]share {
	own, others := o.group(n.version)
	all, idle := o.layers(own, s)
	more, idler := o.layers(others, s)
	return slices.DeleteFunc(append(append(all, more...), idle, idler), func(layer []share) bool { return len(layer) == 0 })
}

func (o *outlook) layers(members []member, s stance) (all [][]share, idle []share) {
	if o.named && !s.names {
		members = onlyNumeric(members)
	}
	if o.foreign() {
		members = alike(members)
	}
	return layers(localities(members, o.byZone()), s.zone)
}

func onlyNumeric(members []member) (numeric []member) {
	for _, m := range members {
		if m.numeric {
			numeric = append(numeric, m)
		}
	}
	return numeric
}

// alike gives all the same weight.
func alike(members []member) []member {
	same := make([]member, len(members))
	for n, m := range members {
		m.weight = rollcall.DefaultWeight
		same[n] = m
	}
	return same
}
