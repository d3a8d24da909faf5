package balancer

import (
	"math"
	"slices"

	"google.golang.org/grpc/connectivity"
)

// reserve is the part of a subset that goes to zones which are not called while the caller's own zone does well, so that there is
// somewhere to go at once when it does not.
const reserve = 0.1

// leastTried is how many a subset tries at least, however small it is, while they fail.
const leastTried = 20

// choose decides whom to connect to, and connects. It depends on nothing but the members, their ranks, and which of them have
// failed: not on what was chosen before.
func (p *policy) choose() {
	p.round++
	for _, g := range p.groups {
		g.cells = slices.DeleteFunc(g.cells, (*cell).empty)
		added := make([][]*member, len(g.cells))
		for n, c := range g.cells {
			added[n] = c.merge()
		}
		quotas := p.quotas(g)
		for n, c := range g.cells {
			p.chooseFrom(c, added[n], quotas[n])
		}
	}
	p.choice = false
}

// quotas returns how many of each cell of a group are wanted: as many as if all were well, and more where calls go instead of to those
// that are not. Who does not let itself be connected to stays wanted: else it would not be known any more that it does not.
func (p *policy) quotas(g *group) []int {
	if size := p.config.Subset.Size; p.config.Subset.Disabled || g.size() <= size {
		quotas := make([]int, len(g.cells))
		for n, c := range g.cells {
			quotas[n] = len(c.ranked)
		}
		return quotas
	}
	quotas := p.divide(g, func(c *cell) float64 { return c.weight })
	for n, c := range g.cells {
		c.quota = quotas[n]
	}
	for n, quota := range p.divide(g, (*cell).promise) {
		quotas[n] = max(quotas[n], quota)
	}
	return quotas
}

// divide makes as many parts of a subset as a group has cells, by what each of these is good for.
func (p *policy) divide(g *group, capacity func(*cell) float64) []int {
	quotas := make([]int, len(g.cells))
	size := p.config.Subset.Size
	left, own := size, -1
	for n, part := range p.spread(g.cells, capacity) {
		c := g.cells[n]
		if c.own || len(g.cells) == 1 {
			own = n
			continue
		}
		part = max(part, reserve/float64(len(g.cells)))
		quotas[n] = min(max(int(math.Round(part*float64(size))), 1), len(c.ranked))
		left -= quotas[n]
	}
	if own >= 0 {
		quotas[own] = min(max(left, 1), len(g.cells[own].ranked))
	}
	return quotas
}

// promise is the weight of a cell, less that of the part that does not let itself be connected to, as far as it would be if all were well.
func (c *cell) promise() float64 {
	wanted, failed := 0.0, 0.0
	for _, m := range c.ranked[:c.quota] {
		wanted += m.share
		if m.failed() {
			failed += m.share
		}
	}
	if failed == 0 {
		return c.weight
	}
	return c.weight * (1 - failed/wanted)
}

// capacity is the weight of a cell, less that of the part that cannot be called now. Of a cell that is called through a
// subset, the subset stands for the whole.
func (c *cell) capacity() float64 {
	if c.all {
		return c.readyWeight()
	}
	wanted := 0.0
	for _, m := range c.chosen {
		wanted += m.share
	}
	if wanted == 0 {
		return 0
	}
	return c.weight * c.readyWeight() / wanted
}

// spread returns which part of the calls goes to each of a group's cells: one for each zone. The zones' callers are taken to make equal
// parts of all calls, for nobody knows better. Then a zone with at least that part of the capacity keeps all calls of its own,
// a thinner one as many as it has capacity for, and the rest go where more capacity is than its own zone needs: so that in the end
// all have to do as their capacity is. A caller from a zone without instances, of which others do not know, keeps it so by calling all
// as their capacity is. Instances of no zone have no callers of their own.
func (p *policy) spread(cells []*cell, capacity func(*cell) float64) []float64 {
	parts := make([]float64, len(cells))
	zones, total, own := 0, 0.0, -1
	for n, c := range cells {
		parts[n] = capacity(c)
		total += parts[n]
		if c.own {
			own = n
		}
		if c.zone != "" {
			zones++
		}
	}
	if total == 0 {
		return parts
	}
	for n := range parts {
		parts[n] /= total
	}
	if own < 0 { // or zones do not count
		return parts
	}
	fair := 1 / float64(zones)
	local := min(parts[own]/fair, 1)
	if local > 1-1e-9 {
		clear(parts)
		parts[own] = 1
		return parts
	}
	spare := 0.0 // more than none: the caller's own zone has less than is fair, so that others have more
	for n, c := range cells {
		if c.zone != "" {
			parts[n] = max(parts[n]-fair, 0)
		}
		spare += parts[n]
	}
	for n := range parts {
		parts[n] *= (1 - local) / spare
	}
	parts[own] = local
	return parts
}

// chooseFrom wants the first of a cell by rank, in place of each that fails one more, up to as many again, or 20. Some have been added to the
// cell since the last time.
func (p *policy) chooseFrom(c *cell, added []*member, quota int) {
	if quota >= len(c.ranked) {
		if !c.all {
			added = c.ranked
		}
		for _, m := range added {
			p.want(m)
		}
		c.all, c.chosen = true, nil
		return
	}
	former := c.wanted()
	chosen := make([]*member, 0, quota)
	for healthy, n := 0, 0; healthy < quota && n < min(max(2*quota, leastTried), len(c.ranked)); n++ {
		m := c.ranked[n]
		m.round = p.round
		chosen = append(chosen, m)
		if !m.failed() {
			healthy++
		}
	}
	c.all, c.chosen = false, chosen
	for _, before := range [][]*member{former, added} {
		for _, m := range before {
			if m.round != p.round {
				p.drop(m)
			}
		}
	}
	for _, m := range chosen {
		p.want(m)
	}
	p.stale = true
}

// want sees to a member's connection.
func (p *policy) want(m *member) {
	switch {
	case m.conn == nil:
		p.newConn(m)
	case m.conn.state == connectivity.Idle:
		m.conn.sc.Connect()
	}
}
