package simetcd

import "time"

const (
	tick       = 500 * time.Millisecond // how often the leader looks for expired leases
	maxExpired = 500                    // how many it revokes at a time
)

// Leader returns the member that leads, or nil.
func (c *Cluster) Leader() *Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// run is the cluster's clock: elections and the expiry of leases.
func (c *Cluster) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.mu.Lock()
			if c.watchLeader() || c.expire() {
				c.notify()
			}
			c.watchBlind()
			c.mu.Unlock()
		case <-c.end:
			return
		}
	}
}

// voters returns the members that hear one another. The caller holds mu, here and below.
func (c *Cluster) voters() []*Member {
	var voters []*Member
	for _, m := range c.members {
		if m.works() && !m.isolated {
			voters = append(voters, m)
		}
	}
	return voters
}

func (c *Cluster) quorum() bool { return len(c.voters()) > len(c.members)/2 }

// led reports whether there is a leader that gets something done.
func (c *Cluster) led() bool {
	return c.leader != nil && !c.dead && c.leader.works() && !c.leader.isolated && c.quorum()
}

// leads reports whether a member believes that it leads. It takes an election to find out that nobody follows.
func (c *Cluster) leads(m *Member) bool {
	return c.leader == m && !c.dead && m.works() && (c.led() || time.Since(c.lost) < Election)
}

// judgeLeader keeps book of since when nobody leads, and since when those who could elect somebody hear one another.
func (c *Cluster) judgeLeader() {
	if c.led() {
		c.lost, c.waiting = time.Time{}, time.Time{}
		return
	}
	if c.lost.IsZero() {
		c.lost = time.Now()
	}
	if !c.quorum() {
		c.waiting = time.Time{}
	} else if c.waiting.IsZero() {
		c.waiting = time.Now()
	}
}

// watchLeader deposes a leader that has not led for an election timeout and elects another one after one more. It
// reports whether anything changed.
func (c *Cluster) watchLeader() bool {
	c.judgeLeader()
	if c.led() {
		for _, m := range c.voters() {
			m.fresh = false
		}
		return false
	}
	if time.Since(c.lost) < Election {
		return false
	}
	if c.leader != nil {
		if c.deposed() {
			c.leader = nil
		}
		return true // its followers no longer believe in it
	}
	patience := 2 * Election
	if len(c.members) == 1 {
		patience = Election
	} else if time.Since(c.waiting) < Election { // a process that starts, or wakes up, waits before it stands
		return false
	}
	if !c.quorum() || time.Since(c.lost) < patience || time.Now().Before(c.leaderless) {
		return false
	}
	c.elect(c.voters()[0])
	return true
}

// deposed reports whether the leader leads no longer. One that hangs together with the majority is deposed by nobody:
// if they wake up together, it still leads.
func (c *Cluster) deposed() bool {
	switch {
	case c.dead:
		return true
	case c.quorum():
		return time.Since(c.waiting) >= Election
	}
	return c.leader.works() && time.Since(c.leader.woke) >= Election // it hears nothing of its followers
}

// elect makes m the leader. A new leader knows no expiries: it gives every lease its full time, and an election more.
func (c *Cluster) elect(m *Member) {
	c.leader, c.dead, c.lost = m, false, time.Time{}
	c.term++
	for _, voter := range c.voters() {
		voter.fresh = false
	}
	for _, l := range c.store.leases {
		l.refresh(Election)
	}
}

// expire revokes leases that ran out. Only a leader does that, and only one that can commit. It reports whether there
// were any.
func (c *Cluster) expire() bool {
	if !c.led() {
		return false
	}
	expired := c.store.expired(maxExpired)
	for _, id := range expired {
		_ = c.revoke(id, "expiry") // it exists, we hold the mutex
	}
	return len(expired) > 0
}

// watchBlind refuses streams that require a leader on members that have seen none for three elections.
func (c *Cluster) watchBlind() {
	for _, m := range c.members {
		switch {
		case !m.works() || m.seesLeader():
			m.blind = time.Time{}
		case m.blind.IsZero():
			m.blind = time.Now()
		case time.Since(m.blind) >= 3*Election:
			m.refuseLeaderless()
		}
	}
}
