package balancer

import (
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// callee is what is to be known of one member.
type callee struct {
	key   string
	addrs []resolver.Address
	inst  *rollcall.Instance
	plain bool // nothing but its address is known
}

func calleeOf(i *rollcall.Instance) callee {
	return callee{key: i.Addr, addrs: []resolver.Address{{Addr: i.Addr}}, inst: i}
}

// listed returns what a view of our resolver has.
func listed(instances []*rollcall.Instance) []callee {
	callees := make([]callee, len(instances))
	for n, i := range instances {
		callees[n] = calleeOf(i)
	}
	return callees
}

// plain returns what endpoints are that come from another resolver, or from ours through somebody who changed them.
func plain(eps []resolver.Endpoint, known map[string]*member) []callee {
	callees := make([]callee, 0, len(eps))
	for _, ep := range eps {
		if len(ep.Addresses) == 0 {
			continue
		}
		inst, ours := endpoints.InstanceOf(ep)
		c := callee{key: keyOf(ep.Addresses), addrs: ep.Addresses, plain: !ours}
		if m := known[c.key]; !ours && m != nil && m.plain {
			inst = m.inst
		} else if !ours {
			inst = &rollcall.Instance{ID: c.key, Addr: ep.Addresses[0].Addr, Weight: rollcall.DefaultWeight, State: rollcall.StateServing}
		}
		c.inst = inst
		callees = append(callees, c)
	}
	return callees
}

// keyOf names an endpoint as gRPC does, by its addresses in any order.
func keyOf(addrs []resolver.Address) string {
	if len(addrs) == 1 {
		return addrs[0].Addr
	}
	names := make([]string, len(addrs))
	for n, a := range addrs {
		names[n] = a.Addr
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// replaceAll makes the members those of a complete list. Of callees with one key the first counts, as in gRPC.
func (p *policy) replaceAll(callees []callee) {
	keep := make(map[string]bool, len(callees))
	for _, c := range callees {
		if !keep[c.key] {
			keep[c.key] = true
			p.put(c)
		}
	}
	for key, m := range p.members {
		if !keep[key] {
			p.remove(m)
		}
	}
}

// applyUpdates makes of the members of one view those of the next. An address may go from one instance to another: what is gone is
// removed last, unless somebody else has the address by then.
func (p *policy) applyUpdates(updates []rollcall.Update) {
	for _, u := range updates {
		if u.Op != rollcall.Delete {
			p.put(calleeOf(u.Instance))
		}
	}
	for _, u := range updates {
		if u.Op == rollcall.Add || u.Op == rollcall.Modify && u.Prev.Addr == u.Instance.Addr {
			continue
		}
		if m := p.members[u.Prev.Addr]; m != nil && m.inst.ID == u.Prev.ID {
			p.remove(m)
		}
	}
}

// put adds a member, or tells one what is known of it now.
func (p *policy) put(c callee) {
	m := p.members[c.key]
	if m == nil {
		m = &member{key: c.key, addrs: c.addrs, inst: c.inst, joined: p.listed, plain: c.plain}
		p.members[c.key] = m
		p.place(m)
		return
	}
	moved := !slices.EqualFunc(m.addrs, c.addrs, sameAddress)
	if m.inst == c.inst && !moved {
		return
	}
	another := m.inst.ID != c.inst.ID || m.inst.Incarnation != c.inst.Incarnation
	m.inst, m.addrs, m.plain = c.inst, c.addrs, c.plain
	if another {
		m.joined, m.ramp = p.listed, time.Time{}
	}
	p.place(m)
	if m.conn != nil && (moved || another) {
		p.renew(m, moved)
	}
}

// renew has a member that is another instance, or another incarnation, called whatever its predecessor at the address did, and does
// not wait until gRPC tries that one's connection again.
func (p *policy) renew(m *member, moved bool) {
	if !moved && !m.conn.failed && m.conn.state != connectivity.TransientFailure {
		p.readmit(m.conn)
		m.conn.failures.Store(0)
		m.conn.breaks.Store(0)
		if m.conn.slot >= 0 { // it starts slowly though it takes over its predecessor's connection
			m.conn.cell.ready[m.conn.slot].weight = p.rampedWeight(m)
			p.stale = true
		}
		return
	}
	p.drop(m)
	if m.cell != nil {
		p.newConn(m)
	}
}

func sameAddress(a, b resolver.Address) bool { return a.Equal(b) }

// remove forgets a member. Calls under way to it finish.
func (p *policy) remove(m *member) {
	delete(p.members, m.key)
	if m.serves {
		p.serving--
	}
	p.move(m, nil)
	p.drop(m)
}

// place puts a member into the cell where it belongs by what it says.
func (p *policy) place(m *member) {
	serves := m.inst.Serving()
	p.serving += change(&m.serves, serves)
	var to *cell
	if serves || p.last {
		to = p.groupOf(m.inst.Version).cell(p.zoneOf(m), p.zone)
	}
	rank := scramble(hashString(m.inst.ID) ^ p.seed)
	if m.cell != to || m.rank != rank {
		p.move(m, nil)
		m.rank = rank
		p.move(m, to)
		return
	}
	if to == nil || m.share == m.weight() {
		return
	}
	to.weight += m.weight() - m.share
	m.share = m.weight()
	if m.conn != nil && m.conn.slot >= 0 {
		to.ready[m.conn.slot].weight = p.rampedWeight(m)
	}
	p.stale = true
}

func (p *policy) groupOf(version string) *group {
	rest := len(p.groups) - 1
	n, found := slices.BinarySearchFunc(p.groups[:rest], version, func(g *group, v string) int { return strings.Compare(g.version, v) })
	if found {
		return p.groups[n]
	}
	return p.groups[rest]
}

// zoneOf returns the zone of a member as far as zones count: not at all for a caller who does not know his own.
func (p *policy) zoneOf(m *member) string {
	if p.zone == "" || p.config.IgnoreZones {
		return ""
	}
	return m.inst.Zone
}

// move takes a member from its cell to another; nil is none. Its connection stays.
func (p *policy) move(m *member, to *cell) {
	if m.cell != nil {
		if m.conn != nil && m.conn.slot >= 0 {
			p.leave(m.conn)
		}
		from := m.cell
		from.remove(m)
		p.stale = p.stale || from.empty() // how many zones there are counts for all of them
	}
	if to != nil {
		p.stale = p.stale || to.empty()
		to.insert(m)
	}
	if m.conn != nil && m.cell == to {
		p.refresh(m.conn)
	}
	p.choice = true
}

// rearrange puts all members into the cells of new groups.
func (p *policy) rearrange() {
	for _, m := range p.members {
		if m.conn != nil && m.conn.slot >= 0 {
			p.leave(m.conn)
		}
		m.cell = nil
	}
	for _, m := range p.members {
		p.place(m)
	}
	p.choice, p.stale = true, true
}

// settleLast has those that drain called when nobody serves, and no longer when somebody does.
func (p *policy) settleLast() {
	last := p.serving == 0 && len(p.members) > 0
	if last == p.last {
		return
	}
	p.last = last
	for _, m := range p.members {
		if !m.serves {
			p.place(m)
		}
	}
}

// plainError makes text of an error that may wrap a gRPC status: of one gRPC would make the end of calls that wait for ready.
func plainError(err error) error {
	if err == nil {
		return errors.New("nothing is known of it yet")
	}
	return errors.New(err.Error())
}
