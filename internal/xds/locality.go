package xds

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// gRPC's clients weigh localities and not what is in them. So those of a zone that weigh the same are a locality, whose weight is
// theirs together: the clients call the localities as they weigh, and in each of them everybody in turn.
type locality struct {
	zone    string
	class   uint64 // what its members weigh, about
	members []*member
	weight  uint64 // of those who serve
}

// exactClasses is how many different weights are told apart. Of more, those within a sixteenth are taken for one.
const exactClasses = 32

// localities divides members, and returns the localities in an order that depends on nothing but the members.
func localities(members []member, byZone bool) []*locality {
	type key struct {
		zone  string
		class uint64
	}
	weights := map[uint64]bool{}
	for _, m := range members {
		weights[m.weight] = true
	}
	at := map[key]*locality{}
	var list []*locality
	for n := range members {
		m := &members[n]
		k := key{class: m.weight}
		if byZone {
			k.zone = m.zone
		}
		if drop := bits.Len64(m.weight) - 5; len(weights) > exactClasses && drop > 0 {
			k.class = m.weight >> drop << drop
		}
		l := at[k]
		if l == nil {
			l = &locality{zone: k.zone, class: k.class}
			at[k] = l
			list = append(list, l)
		}
		l.members = append(l.members, m)
		if m.serves() {
			l.weight += m.weight
		}
	}
	slices.SortFunc(list, func(a, b *locality) int {
		return cmp.Or(strings.Compare(a.zone, b.zone), cmp.Compare(a.class, b.class))
	})
	return list
}

// names returns how the locality is called: so that it keeps its name, and its clients their connections, whatever else there is.
func (l *locality) names() (zone, subZone string) {
	if l.class == rollcall.DefaultWeight {
		return l.zone, ""
	}
	return l.zone, "weight=" + strconv.FormatUint(l.class, 10)
}

// share is a locality and how often it is called, in relation to others of the same priority.
type share struct {
	*locality
	part uint64
}

// scale is what a whole is made of when zones are called in parts: enough that nobody is rounded away.
const scale = 1 << 24

// layers returns priorities, the first one first. A client in a zone stays in it as long as that has its fair share of the capacity; else
// as many of its calls stay as there is capacity for, and the rest go where more is than is needed: as those of the load-balancing policy
// of package balancer do. The zones that are not called come next, for when there is nobody else. Who does not serve is told of in the last
// one, and apart when there is none.
func layers(list []*locality, zone string) (all [][]share, idle []share) {
	var zones []string
	capacity := map[string]uint64{}
	total := uint64(0)
	for _, l := range list {
		if _, seen := capacity[l.zone]; !seen {
			zones = append(zones, l.zone)
		}
		capacity[l.zone] += l.weight
		total += l.weight
	}
	parts := spread(zones, capacity, total, zone)
	var first, others []share
	for _, l := range list {
		switch {
		case l.weight == 0:
			idle = append(idle, share{l, 1})
		case parts == nil:
			first = append(first, share{l, l.weight})
		case parts[l.zone] > 0:
			part := parts[l.zone] * float64(l.weight) / float64(capacity[l.zone])
			first = append(first, share{l, max(uint64(part*scale+0.5), 1)})
		default:
			others = append(others, share{l, l.weight})
		}
	}
	for _, layer := range [][]share{first, others} {
		if len(layer) > 0 {
			all = append(all, layer)
		}
	}
	if len(all) == 0 {
		return nil, idle
	}
	all[len(all)-1] = append(all[len(all)-1], idle...)
	return all, nil
}

// spread returns which part of the calls of a client in a zone goes to each zone; nil when zones do not matter, because none is his own.
func spread(zones []string, capacity map[string]uint64, total uint64, own string) map[string]float64 {
	if _, there := capacity[own]; own == "" || !there || total == 0 {
		return nil
	}
	named := 0
	for _, z := range zones {
		if z != "" {
			named++
		}
	}
	fair := 1 / float64(named)
	of := func(z string) float64 { return float64(capacity[z]) / float64(total) }
	local := min(of(own)/fair, 1)
	if local > 1-1e-9 {
		return map[string]float64{own: 1}
	}
	parts, spare := map[string]float64{}, 0.0
	for _, z := range zones {
		parts[z] = of(z)
		if z != "" {
			parts[z] = max(parts[z]-fair, 0)
		}
		spare += parts[z]
	}
	for _, z := range zones {
		parts[z] *= (1 - local) / spare
	}
	parts[own] = local
	return parts
}
