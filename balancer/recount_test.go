package balancer

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/grpc/connectivity"

	"github.com/rollcall-io/rollcall"
)

// recount looks at all of a policy, and fails the test if that is not what the policy has kept account of step by step.
func (c *channel) recount() {
	c.t.Helper()
	p := c.policy
	p.mu.Lock()
	defer p.mu.Unlock()
	counted := map[string]int{}
	for key, m := range p.members {
		if m.key != key {
			c.t.Fatalf("the member %s is known as %s", m.key, key)
		}
		c.recountMember(m, counted)
	}
	c.recountCells(counted)
	got := map[string]int{"serving": p.serving, "wanted": p.wanted, "failing": p.failing, "usable": p.usable}
	for what, n := range got {
		if counted[what] != n {
			c.t.Fatalf("%d members are counted as %s, and %d are", n, what, counted[what])
		}
	}
	if last := p.serving == 0 && len(p.members) > 0; p.last != last {
		c.t.Fatalf("those that drain are called: %v, and %d of %d serve", p.last, p.serving, len(p.members))
	}
	if open := c.addresses(); len(open) != counted["open"] {
		c.t.Fatalf("there are connections to %v, and members have %d", open, counted["open"])
	}
	c.recountTable()
}

func (c *channel) recountMember(m *member, counted map[string]int) {
	c.t.Helper()
	if m.inst.State != rollcall.StateDraining {
		counted["serving"]++
	}
	if called := m.serves || c.policy.last; called != (m.cell != nil) {
		c.t.Fatalf("%s is to be called: %v, and is among those that are: %v", m.key, called, m.cell != nil)
	}
	if m.conn == nil {
		return
	}
	counted["open"]++
	sc := c.conn(m.key)
	if m.conn.sc != sc || m.conn.member != m || m.conn.state != sc.state || sc.state == connectivity.Ready && m.conn.healthy != sc.healthy {
		c.t.Fatalf("%s is taken to be %v, healthy: %v, and is %v, %v", m.key, m.conn.state, m.conn.healthy, sc.state, sc.healthy)
	}
	usable := m.cell != nil && sc.callable() && m.conn.ejected.IsZero()
	if m.conn.usable.Load() != usable || (m.conn.slot >= 0) != usable {
		c.t.Fatalf("%s can be called: %v, is taken to be: %v, and listed: %v", m.key, usable, m.conn.usable.Load(), m.conn.slot >= 0)
	}
	if m.cell == nil {
		return
	}
	counted["wanted"]++
	if m.conn.failed {
		counted["failing"]++
	}
	if sc.state == connectivity.Idle && !sc.wants {
		c.t.Fatalf("nobody tries to connect to %s", m.key)
	}
	if !slices.Contains(m.cell.wanted(), m) {
		c.t.Fatalf("%s has a connection and is not wanted", m.key)
	}
}

func (c *channel) recountCells(counted map[string]int) {
	c.t.Helper()
	placed := 0
	for _, g := range c.policy.groups {
		for _, cell := range g.cells {
			placed += len(cell.ranked)
			counted["usable"] += len(cell.ready)
			if len(cell.added) > 0 || !slices.IsSortedFunc(cell.ranked, compareRanks) {
				c.t.Fatalf("the members of %s/%s are out of order", g.version, cell.zone)
			}
			weight := 0.0
			for n, m := range cell.ranked {
				weight += m.weight()
				if m.cell != cell || m.share != m.weight() || n > 0 && compareRanks(cell.ranked[n-1], m) == 0 {
					c.t.Fatalf("%s is in the wrong place", m.key)
				}
			}
			if math.Abs(weight-cell.weight) > 1e-6 {
				c.t.Fatalf("the members of %s/%s weigh %v, not %v", g.version, cell.zone, weight, cell.weight)
			}
			for n, m := range cell.wanted() {
				if m.conn == nil || cell.ranked[n] != m {
					c.t.Fatalf("%s is wanted before others, or has no connection", m.key)
				}
			}
			for n, s := range cell.ready {
				if s.conn.slot != n || s.conn.cell != cell || s.conn.member.cell != cell {
					c.t.Fatalf("%s is listed in the wrong place", s.conn.member.key)
				}
			}
		}
	}
	for _, m := range c.policy.members {
		if m.cell != nil {
			placed--
		}
	}
	if placed != 0 {
		c.t.Fatalf("%d more members are in cells than there are", placed)
	}
}

// recountTable finds the table that is published to be the policy's, and at least one of it to be callable.
func (c *channel) recountTable() {
	c.t.Helper()
	p := c.policy
	published, _ := tableOf(c.picker())
	if published != p.table || (p.usable > 0) != (published != nil) {
		c.t.Fatalf("with %d that can be called the policy's table is %p, that of the channel %p", p.usable, p.table, published)
	}
	if published == nil {
		return
	}
	usable := 0
	for _, e := range published.entries {
		if e.usable.Load() {
			usable++
		}
	}
	if p.tabled > usable || p.tabled < 1 {
		c.t.Fatalf("%d of the table are taken to be callable, and %d are", p.tabled, usable)
	}
	if c.connectivity() != connectivity.Ready {
		c.t.Fatalf("with somebody to call the channel is %v", c.connectivity())
	}
}

// sameShares reports whether two channels call the same, and as much.
func sameShares(a, b map[string]float64) bool {
	return maps.EqualFunc(a, b, func(a, b float64) bool { return math.Abs(a-b) < 1e-6 })
}

func written(shares map[string]float64) string {
	s := ""
	for _, addr := range slices.Sorted(maps.Keys(shares)) {
		s += fmt.Sprintf("%s %.4f  ", addr, shares[addr])
	}
	return s
}
