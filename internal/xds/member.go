package xds

import (
	"cmp"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/rollcall-io/rollcall"
)

// member is an instance as clients are told of it.
type member struct {
	netAddr

	zone, version string
	weight        uint64
	health        core.HealthStatus
}

func (m *member) serves() bool { return m.health == core.HealthStatus_HEALTHY }

// maxTotal bounds the sum of the weights of a service: clients refuse what does not fit into 32 bits. What is left of them is for
// rounding.
const maxTotal = math.MaxUint32 / 2

// membersOf returns who is to be told of, one for each address, in an order that depends on nothing but the instances. Of instances at
// one address the newest is behind it: the others are what died there. When nobody serves everybody is told of as if he did. Whoever has an
// address that nobody can dial is left out, and counted.
func membersOf(v *rollcall.View) (list []member, lost int) {
	if v == nil {
		return nil, 0
	}
	found := make([]located, 0, len(v.Instances))
	for _, i := range v.Instances {
		if addr, ok := parseAddr(i.Addr); ok {
			found = append(found, located{addr, i})
		} else {
			lost++
		}
	}
	slices.SortFunc(found, located.compare)
	found = slices.CompactFunc(found, func(a, b located) bool { return a.netAddr == b.netAddr })
	serving, total := false, 0.0
	for _, l := range found {
		serving = serving || l.instance.Serving()
		total += float64(weightOf(l.instance))
	}
	scale := min(1, maxTotal/max(total, 1))
	list = make([]member, len(found))
	for n, l := range found {
		weight := weightOf(l.instance)
		if scale < 1 {
			weight = max(uint64(float64(weight)*scale), 1)
		}
		list[n] = member{
			netAddr: l.netAddr, zone: l.instance.Zone, version: l.instance.Version,
			weight: weight, health: healthOf(l.instance, !serving),
		}
	}
	return list, lost
}

// located is an instance and where it is.
type located struct {
	netAddr
	instance *rollcall.Instance
}

// compare has the instances of an address together, the newest first.
func (l located) compare(other located) int {
	return cmp.Or(strings.Compare(l.host, other.host), cmp.Compare(l.port, other.port), newer(other.instance, l.instance))
}

// newer is greater than zero if the first of two instances is the newer one.
func newer(a, b *rollcall.Instance) int {
	return cmp.Or(cmp.Compare(a.CreateRevision, b.CreateRevision), cmp.Compare(a.Revision, b.Revision), strings.Compare(b.ID, a.ID))
}

func weightOf(i *rollcall.Instance) uint64 {
	if w := i.EffectiveWeight(); w > 0 {
		return uint64(w)
	}
	return rollcall.DefaultWeight
}

// healthOf says of a suspect that it is healthy: whether it lives, its client's connection shows.
func healthOf(i *rollcall.Instance, nobodyServes bool) core.HealthStatus {
	switch {
	case nobodyServes || i.Serving():
		return core.HealthStatus_HEALTHY
	case i.EffectiveState() != rollcall.StateServing && i.EffectiveState() != "":
		return core.HealthStatus_DRAINING
	}
	return core.HealthStatus_UNHEALTHY
}

// netAddr is an address in the one way of writing it that there is: clients refuse a whole assignment that has one twice.
type netAddr struct {
	host    string
	port    uint32
	numeric bool // the host is an IP address
}

func parseAddr(addr string) (netAddr, bool) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil || host == "" || len(host) > 253 {
		return netAddr{}, false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return netAddr{}, false
	}
	a := netAddr{host: strings.ToLower(host), port: uint32(port)}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		a.host, a.numeric = ip.Unmap().String(), true
	}
	return a, hostname(a.host)
}

// hostname reports whether a host is of characters that every client takes.
func hostname(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == '[' || r == ']' || r == '/' || r == '@' || r == '?'
	})
}
