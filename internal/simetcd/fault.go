package simetcd

import (
	"maps"
	"slices"
	"time"
)

// Hang stops the member's process as SIGSTOP does: connections stay and new ones are accepted, nothing is read and
// nothing answered. What is sent meanwhile is handled when it resumes, if the client still waits.
func (m *Member) Hang() {
	c := m.cluster
	c.do(func() {
		if c.leads(m) {
			m.books = map[int64]time.Time{}
			for id, l := range c.store.leases {
				m.books[id] = l.expiry
			}
		}
		m.hung = true
	})
}

// Resume ends a Hang. To the process it never happened, save that the time is later: a leader still leads unless the
// others have elected another one meanwhile, and leases that ran out are revoked at once.
//
// If another one leads, a real etcd either hears of it first, or its clock ticks first: then it has the new leader revoke
// every lease that ran out in its own books, renewed or not. Of two such leaders in a cluster, the fake's first one does
// that and the second does not.
func (m *Member) Resume() {
	c := m.cluster
	c.do(func() {
		m.hung, m.woke = false, time.Now()
		if m.books != nil && c.leader != m && c.led() {
			if c.wokeLate = !c.wokeLate; c.wokeLate {
				m.revokeByBooks()
			}
		}
		m.books = nil
	})
}

// revokeByBooks revokes the leases that ran out in the books of a member that led before it hung.
func (m *Member) revokeByBooks() {
	for _, id := range slices.Sorted(maps.Keys(m.books)) {
		if !m.books[id].After(time.Now()) {
			_ = m.cluster.revoke(id, "expiry") // or it is gone
		}
	}
}

// Cut parts the member from all its clients: connections break and new ones are refused. The cluster does not notice.
func (m *Member) Cut() {
	m.cluster.do(func() { m.cut = true })
	m.breakConns()
}

// LoseRequests makes the network lose what clients send; what the member sends still arrives. Nobody is told.
func (m *Member) LoseRequests() { m.cluster.do(func() { m.loseRequests = true }) }

// LoseReplies makes the network lose what the member sends: requests are still done. Nobody is told.
func (m *Member) LoseReplies() { m.cluster.do(func() { m.loseReplies = true }) }

// Slow delays all that is sent to the member, until Heal or Slow(0): by d, or by up to twice that what is sent while
// something else is on its way.
func (m *Member) Slow(d time.Duration) { m.cluster.do(func() { m.slow = d }) }

// Heal ends Cut, LoseRequests, LoseReplies and Slow. As TCP does, connections that still stand deliver what was lost.
func (m *Member) Heal() {
	m.cluster.do(func() { m.cut, m.loseRequests, m.loseReplies, m.slow = false, false, false, 0 })
}

// Isolate parts the member from the other members. It keeps its clients and answers from what it has: serializable
// reads are old, watches silent, and nothing is committed.
func (m *Member) Isolate() { m.cluster.do(func() { m.freeze(&m.isolated) }) }

// Lag makes the member apply nothing that is committed from now on. It takes part in everything else.
func (m *Member) Lag() { m.cluster.do(func() { m.freeze(&m.lagging) }) }

func (m *Member) freeze(cause *bool) {
	m.frozen, m.frozenCompacted = m.applied()
	*cause = true
}

// Rejoin ends Isolate and Lag.
func (m *Member) Rejoin() { m.cluster.do(func() { m.isolated, m.lagging = false, false }) }

// Kill ends the member's process, as kill -9 does. It returns when nothing of it runs any more.
func (m *Member) Kill() {
	c := m.cluster
	c.mu.Lock()
	server, listener := m.server, m.listener
	c.mu.Unlock()
	if server == nil {
		return
	}
	c.do(func() {
		m.server = nil
		c.dead = c.dead || c.leader == m
	})
	_ = listener.Close()
	m.breakConns()
	server.Stop()
	c.do(func() { m.hung, m.books, m.tokens = false, nil, nil })
}

// Start runs the member's process again. It knows no token that was given out before, and no leader until it hears one.
func (m *Member) Start() {
	c := m.cluster
	c.mu.Lock()
	running := m.server != nil
	c.mu.Unlock()
	if !running {
		m.start()
	}
}

// Restart is Kill and Start.
func (m *Member) Restart() {
	m.Kill()
	m.Start()
}

// Restart kills all members, and when none runs starts all. The leader that is elected then gives every lease its full
// time.
func (c *Cluster) Restart() {
	for _, m := range c.members {
		m.Kill()
	}
	for _, m := range c.members {
		m.Start()
	}
}

func (m *Member) breakConns() {
	c := m.cluster
	c.mu.Lock()
	var broken []*conn
	for conn := range m.conns {
		broken = append(broken, conn)
	}
	c.mu.Unlock()
	for _, conn := range broken {
		_ = conn.Close()
	}
}

// NoLeader takes the leader away for d: what wants one waits, and after three elections streams that require one end.
// The election that follows gives every lease its full time.
func (c *Cluster) NoLeader(d time.Duration) {
	c.do(func() { c.leader, c.leaderless = nil, time.Now().Add(d) })
}
