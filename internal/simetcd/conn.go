package simetcd

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// conn is one end of a connection to a member. What is sent to it waits, as in a kernel's buffers, while the network
// loses that direction or the process hangs; when that ends it arrives late, and when the connection is closed never.
type conn struct {
	net.Conn
	member *Member
	holds  func(*Member) bool // whether this end gets nothing at present; called with the cluster's mutex held
	late   func(*Member) time.Duration

	once   sync.Once
	closed chan struct{}
}

// acceptor wraps the server's end of every connection.
type acceptor struct {
	*bufconn.Listener
	member *Member
}

func (a *acceptor) Accept() (net.Conn, error) {
	inner, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return a.member.wrap(inner, (*Member).holdsRequests, (*Member).delay), nil
}

func (m *Member) holdsRequests() bool { return m.hung || m.loseRequests }
func (m *Member) holdsReplies() bool  { return m.hung || m.loseReplies }

func (m *Member) delay() time.Duration  { return m.slow }
func (m *Member) atOnce() time.Duration { return 0 }

func (m *Member) wrap(inner net.Conn, holds func(*Member) bool, late func(*Member) time.Duration) net.Conn {
	c := &conn{Conn: inner, member: m, holds: holds, late: late, closed: make(chan struct{})}
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	m.conns[c] = true
	return c
}

// Read returns what has arrived, not before this end may get it.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.pass() {
		return 0, net.ErrClosed
	}
	return n, err
}

// pass waits as long as the way to this end takes, then until this end may get something and reports whether it is still open then.
func (c *conn) pass() bool {
	cluster := c.member.cluster
	cluster.mu.Lock()
	late := c.late(c.member)
	cluster.mu.Unlock()
	if late > 0 {
		timer := time.NewTimer(late)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.closed:
			return false
		}
	}
	for {
		cluster.mu.Lock()
		held, changed := c.holds(c.member), cluster.changed
		cluster.mu.Unlock()
		if !held {
			return true
		}
		select {
		case <-changed:
		case <-c.closed:
			return false
		}
	}
}

// Close closes this end; the other reads what was sent before, then the end.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	cluster := c.member.cluster
	cluster.mu.Lock()
	delete(c.member.conns, c)
	cluster.mu.Unlock()
	return c.Conn.Close()
}
