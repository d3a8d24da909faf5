package balancer

import (
	"sync/atomic"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// conn is a member's connection. Picks read its first part, without a lock; the rest is the policy's.
type conn struct {
	usable            atomic.Bool
	sc                lb.SubConn
	done, doneCounted func(lb.DoneInfo)
	failures          atomic.Int64 // of calls in a row, while the connection stood
	breaks            atomic.Int64 // of the connection in a row, under calls
	calls             atomic.Int64 // under way, as far as least request made them

	// Guarded by the policy's mu.
	member  *member
	state   connectivity.State
	healthy bool  // what the health check says; true without one
	failed  bool  // from the first failure until it is usable
	err     error // of the last failure
	gone    bool  // shut down by us

	cell    *cell  // where it is among the ready
	slot    int    // in its cell's ready, -1 while it is not there
	serial  uint64 // of the table that was published when it got there; later ones have it
	counted bool   // among the policy's wanted
	failing bool   // among the policy's failing

	ejected time.Time // since when, if it is
	broken  bool      // it broke, and no call that ended with it has been seen yet
}

func (p *policy) newConn(m *member) {
	c := &conn{member: m, slot: -1}
	c.done = func(info lb.DoneInfo) { p.ended(c, info) }
	c.doneCounted = func(info lb.DoneInfo) {
		c.calls.Add(-1)
		p.ended(c, info)
	}
	//lint:ignore SA1019 it is deprecated for several addresses only, and has no successor
	sc, err := p.cc.NewSubConn(m.addrs, lb.NewSubConnOptions{
		StateListener: func(s lb.SubConnState) { p.connState(c, s) },
	})
	if err != nil {
		return // the channel is being closed, or the endpoint has no address
	}
	c.sc, m.conn = sc, c
	p.refresh(c)
	sc.Connect()
}

// drop shuts a member's connection down. Calls under way on it finish.
func (p *policy) drop(m *member) {
	c := m.conn
	if c == nil {
		return
	}
	c.gone = true
	p.readmit(c)
	p.refresh(c)
	m.conn = nil
	c.sc.Shutdown()
}

// connState is told by gRPC how a connection is.
func (p *policy) connState(c *conn, s lb.SubConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.gone || s.ConnectivityState == connectivity.Shutdown {
		return
	}
	was := c.state
	c.state, c.healthy = s.ConnectivityState, false
	if was == connectivity.Ready && c.state != was {
		p.broke(c)
	}
	switch c.state {
	case connectivity.Ready:
		c.broken = false
		c.failures.Store(0)
		p.askHealth(c)
	case connectivity.TransientFailure:
		p.fail(c, s.ConnectionError)
	case connectivity.Idle:
		if c.member.cell != nil {
			c.sc.Connect()
		}
	}
	p.refresh(c)
	p.settle()
}

// askHealth waits for the first word of the health check, which gRPC gives at once when none is configured. Asked again, as when the
// service config changes, the connection stays as it is until then.
func (p *policy) askHealth(c *conn) {
	c.sc.RegisterHealthListener(func(s lb.SubConnState) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.closed || c.gone || c.state != connectivity.Ready {
			return
		}
		switch s.ConnectivityState {
		case connectivity.Ready:
			c.healthy = true
		case connectivity.TransientFailure:
			c.healthy = false
			p.fail(c, s.ConnectionError)
		}
		p.refresh(c)
		p.settle()
	})
}

func (p *policy) fail(c *conn, err error) {
	c.failed, c.err = true, err
	p.err = err
}

// refresh brings everything that is counted and listed of a connection in line with how it is.
func (p *policy) refresh(c *conn) {
	m := c.member
	wanted := m.cell != nil && !c.gone
	usable := wanted && c.state == connectivity.Ready && c.healthy && c.ejected.IsZero()
	if usable {
		c.failed, c.err = false, nil
	}
	p.wanted += change(&c.counted, wanted)
	if changed := change(&c.failing, wanted && c.failed); changed != 0 {
		p.failing += changed
		p.choice = true
	}
	if c.usable.Load() != usable {
		c.usable.Store(usable)
	}
	if usable == (c.slot >= 0) {
		return
	}
	if usable {
		p.enter(c)
	} else {
		p.leave(c)
	}
}

// change sets a flag and returns by how much that changes the count of those that have it.
func change(flag *bool, to bool) int {
	if *flag == to {
		return 0
	}
	*flag = to
	if to {
		return 1
	}
	return -1
}

// enter lists a connection among those that can be called.
func (p *policy) enter(c *conn) {
	cell := c.member.cell
	c.cell, c.slot = cell, len(cell.ready)
	cell.ready = append(cell.ready, slot{c, p.rampedWeight(c.member)})
	p.usable++
	c.serial = p.serial
	p.stale = true
}

// leave takes it off, in one step, and has that published at once.
func (p *policy) leave(c *conn) {
	cell := c.cell
	last := len(cell.ready) - 1
	cell.ready[c.slot] = cell.ready[last]
	cell.ready[c.slot].conn.slot = c.slot
	cell.ready[last] = slot{}
	cell.ready = cell.ready[:last]
	c.slot = -1
	p.usable--
	if c.serial < p.serial && cell.serial == p.serial {
		p.tabled--
	}
	p.stale, p.bad = true, true
}
