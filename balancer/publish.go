package balancer

import (
	"math"
	"slices"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// window is the most that good news is gathered when n instances can be called. It grows as a new table's cost.
func window(n int) time.Duration {
	return min(time.Millisecond/2+time.Duration(n)*2*time.Microsecond, 50*time.Millisecond)
}

// settle has gRPC know what an event has changed: at once when somebody has become unusable or nobody could be called before, with
// what else comes in a moment when not. To publish the same table again costs nothing; it wakes the calls that were about
// to use what is lost.
func (p *policy) settle() {
	if p.choice {
		p.choose()
	}
	if p.usable == 0 && len(p.ejected) > 0 {
		p.pardon() // a bad one is better than none
	}
	now := time.Now()
	switch {
	case p.usable == 0:
		p.publishNothing()
	case p.table == nil, p.tabled <= 0, p.stale && now.Sub(p.built) >= p.gathering:
		p.rebuild(now)
		p.publish(connectivity.Ready, p.table.picker())
	case p.bad:
		p.publish(connectivity.Ready, p.table.picker())
	}
	p.bad = false
	p.setTimer(now)
}

func (p *policy) publish(s connectivity.State, picker lb.Picker) {
	p.said = s
	p.cc.UpdateState(lb.State{ConnectivityState: s, Picker: picker})
}

// publishNothing says that there is nobody to call: yet, as long as there is hope, or for now, and why.
func (p *policy) publishNothing() {
	p.table = nil
	if p.wanted > p.failing {
		if p.said != connectivity.Connecting || p.bad {
			p.publish(connectivity.Connecting, refusal{lb.ErrNoSubConnAvailable})
		}
		return
	}
	if !p.listed && p.err == nil {
		return
	}
	// Each new picker wakes all calls that wait. Nobody is there whom they could be waiting for, unless one was lost just now.
	why := p.nothing()
	if p.said != connectivity.TransientFailure || p.bad || p.told != why.Error() {
		p.told = why.Error()
		p.publish(connectivity.TransientFailure, refusal{why})
	}
}

// refusal is a picker that has nobody.
type refusal struct{ err error }

func (r refusal) Pick(lb.PickInfo) (lb.PickResult, error) { return lb.PickResult{}, r.err }

// setTimer sees to it that settle is called again when it is time to: for a table that is stale, for those that are ejected, for those
// that start slowly.
func (p *policy) setTimer(now time.Time) {
	var due time.Time
	earlier := func(at time.Time) {
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	if p.stale && p.usable > 0 {
		earlier(p.built.Add(p.gathering))
	}
	for _, c := range p.ejected {
		earlier(c.ejected.Add(p.config.Ejection.Time))
	}
	if len(p.ramping) > 0 && p.usable > 0 {
		earlier(p.built.Add(max(p.config.SlowStart/20, 50*time.Millisecond)))
	}
	if due.Equal(p.timerDue) || due.IsZero() {
		return // a timer that is not needed any more does no harm
	}
	p.timerDue = due
	if p.timer == nil {
		p.timer = time.AfterFunc(due.Sub(now), p.timeIsUp)
	} else {
		p.timer.Reset(due.Sub(now))
	}
}

func (p *policy) timeIsUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.timerDue = time.Time{}
	now := time.Now()
	for _, c := range slices.Clone(p.ejected) {
		if now.Sub(c.ejected) >= p.config.Ejection.Time {
			p.readmit(c)
		}
	}
	p.stale = p.stale || len(p.ramping) > 0
	p.settle()
}

// rebuild makes the table of what can be called now.
func (p *policy) rebuild(now time.Time) {
	p.gathering = endpoints.Gathering(p.gathering, now.Sub(p.built), window(p.usable))
	p.built, p.stale = now, false
	p.reramp()
	p.serial++
	t := &table{
		order: p.order, entries: p.entries[:0], // a copy at the end
		least: p.config.Pick == LeastRequest, header: p.config.SplitHeader, report: !p.config.Ejection.Disabled,
	}
	shares := p.shares[:0]
	sum := 0.0
	var firsts []int // of the groups
	for n, of := range p.split() {
		g := p.groups[n]
		firsts = append(firsts, len(shares))
		for k, f := range p.spread(g.cells, (*cell).capacity) {
			if of*f > 0 {
				g.cells[k].serial = p.serial
				shares = t.add(g.cells[k], of*f, shares)
			}
		}
		sum += of
		t.parts = append(t.parts, part{upTo: sum, order: &g.order})
	}
	p.shares, p.entries = shares[:0], t.entries
	t.entries = p.sameEntries(p.entries)
	clear(p.entries) // else it would hold on to connections that are gone
	p.tabled = len(t.entries)
	t.even = even(shares)
	if !t.even || t.least || t.header != "" {
		t.draw(shares)
		t.measure(append(firsts, len(shares)))
	}
	p.table = t
}

// sameEntries returns those of the last table if they are the same, as when a weight has changed, or a copy.
func (p *policy) sameEntries(entries []*conn) []*conn {
	if p.table != nil && slices.Equal(p.table.entries, entries) {
		return p.table.entries
	}
	return slices.Clone(entries)
}

// split returns which part of the calls goes to each group: its percentage, less what is in nobody's power.
func (p *policy) split() []float64 {
	parts := make([]float64, len(p.groups))
	total := 0.0
	for n, g := range p.groups {
		for _, c := range g.cells {
			if len(c.ready) > 0 {
				parts[n] = g.percent
			}
		}
		total += parts[n]
	}
	if total == 0 { // only versions that are to have nothing are left
		for n, g := range p.groups {
			for _, c := range g.cells {
				parts[n] += c.capacity()
			}
			total += parts[n]
		}
	}
	for n := range parts {
		parts[n] /= total
	}
	return parts
}

// add gives a cell its part of the calls.
func (t *table) add(c *cell, part float64, shares []float64) []float64 {
	of := part / c.readyWeight()
	at := uint32(len(t.stalls))
	t.stalls = append(t.stalls, stall{first: len(t.entries), n: len(c.ready)})
	for _, s := range c.ready {
		t.entries = append(t.entries, s.conn)
		shares = append(shares, s.weight*of)
		if t.least {
			t.weights = append(t.weights, s.weight)
			t.stallOf = append(t.stallOf, at)
		}
	}
	return shares
}

// measure finds the parts of the line that cells and versions have.
func (t *table) measure(firsts []int) {
	begin := func(n int) uint32 {
		if n == 0 {
			return 0
		}
		return t.ends[n-1]
	}
	for n := range t.stalls {
		s := &t.stalls[n]
		s.span = span{begin(s.first), t.ends[s.first+s.n-1]}
	}
	for n := range t.parts {
		t.parts[n].span = span{begin(firsts[n]), begin(firsts[n+1])}
	}
}

func even(shares []float64) bool {
	for _, s := range shares {
		if math.Abs(s-shares[0]) > shares[0]*1e-9 {
			return false
		}
	}
	return true
}
