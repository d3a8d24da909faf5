package balancer

import "time"

// least is the part of its weight that an instance starts with.
const leastRamp = 0.1

// rampedWeight returns the weight that counts for a member that can be called: its own, or less while it starts slowly, which
// begins when it can be called first.
func (p *policy) rampedWeight(m *member) float64 {
	if !m.joined {
		return m.share
	}
	now := time.Now()
	if m.ramp.IsZero() {
		m.ramp = now // also without a slow start: one that is configured later is not for those that have long been called
	}
	if p.config.SlowStart == 0 {
		return m.share
	}
	part := float64(now.Sub(m.ramp)) / float64(p.config.SlowStart)
	if part >= 1 {
		return m.share
	}
	if !m.ramping {
		m.ramping = true
		p.ramping = append(p.ramping, m)
	}
	return m.share * max(part, leastRamp)
}

// reramp gives those that start slowly the weights that they have by now.
func (p *policy) reramp() {
	ramping := p.ramping
	p.ramping = nil
	for _, m := range ramping {
		m.ramping = false
		if m.conn != nil && m.conn.slot >= 0 {
			m.conn.cell.ready[m.conn.slot].weight = p.rampedWeight(m)
		}
	}
}
