package authz

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// ask is something that a caller wants.
type ask struct {
	verb    verb
	some    bool // of some service, whichever: what he gets is cut to what he may read
	service string
	id      string
	addrs   []string // where an instance is that is to be registered
}

// decision is whether he gets it. The zero decision is that he does not.
type decision struct {
	allowed bool
	why     string // not, for him
}

// decide decides. It looks at nothing but the rules, the caller and what he asks for: not at what there is, so that a refusal tells nothing
// of that.
func (r *rules) decide(c *caller, a ask) (d decision) {
	defer func() {
		if cause := recover(); cause != nil {
			d = decision{why: "the server could not decide"}
		}
	}()
	if r == nil || c == nil || c.name == "" {
		return decision{why: "nobody knows who asks"}
	}
	misplaced := ""
	for _, one := range r.Rules {
		if !one.lets(c.name, a) {
			continue
		}
		if why := one.OwnAddress.refuses(c.peer, a); why != "" {
			misplaced = why
			continue
		}
		return decision{allowed: true}
	}
	return decision{why: refusal(c.name, a, misplaced)}
}

func refusal(name string, a ask, misplaced string) string {
	switch {
	case misplaced != "":
		return fmt.Sprintf("%s may register %s, but %s", name, strconv.Quote(a.service), misplaced)
	case a.verb == known:
		return name + " may do nothing here"
	case a.verb == admin:
		return name + " is no admin of this server"
	case a.some:
		return fmt.Sprintf("%s may not %s anything", name, a.verb)
	}
	return fmt.Sprintf("%s may not %s %s", name, a.verb, strconv.Quote(a.service))
}

// lets reports whether a rule lets an identity have something, wherever it is.
func (r rule) lets(name string, a ask) bool {
	switch {
	case a.verb == known:
		return r.isFor(name)
	case !slices.Contains(r.Verbs, a.verb):
		return false
	case a.verb == admin:
		return r.isFor(name)
	}
	services := r.services(name)
	if a.some {
		return len(services) > 0
	}
	return slices.ContainsFunc(services, func(p pattern) bool { return p.match(a.service) })
}

// refuses says why an instance may not be where it is to be; "" when it may. Its id is bound, too: under another's id it would take that
// one's place.
func (o ownAddress) refuses(peer netip.Addr, a ask) string {
	if !o.asked() || len(a.addrs) == 0 {
		return ""
	}
	for _, addr := range a.addrs {
		if !o.has(peer, addr) {
			return fmt.Sprintf("only at %s, not at %s", o.where(peer), strconv.Quote(addr))
		}
	}
	if a.id != "" && !o.has(peer, a.id) {
		return fmt.Sprintf("only with an id that is an address at %s, not as %s", o.where(peer), strconv.Quote(a.id))
	}
	return ""
}

func (o ownAddress) where(peer netip.Addr) string {
	if o.own {
		return "its own address, " + peer.String()
	}
	return fmt.Sprint(o.networks)
}

// has reports whether an address, host:port, is one of those. A name is none: who knows where it leads tomorrow.
func (o ownAddress) has(peer netip.Addr, addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	if o.own && peer.IsValid() && ip == peer.Unmap() {
		return true
	}
	return slices.ContainsFunc(o.networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}
