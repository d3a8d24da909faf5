package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of connections.
const (
	maxConns       = 1000             // at a time
	maxConnsFrom   = 200              // of one network
	idleTimeout    = 10 * time.Second // from one question to the end of the next
	writeTimeout   = 5 * time.Second
	slack          = time.Second // by which a timeout may be longer: to set one takes longer than to look at the clock
	maxTCPQuestion = packetBuffer
)

// conns are the connections that are open.
type conns struct {
	mu     sync.Mutex
	ending bool
	open   map[net.Conn]netip.Addr
	from   map[netip.Addr]int
}

// add counts a connection, if there is room for one more.
func (c *conns) add(conn net.Conn) bool {
	var ip netip.Addr
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ip = network(a.AddrPort().Addr())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || len(c.open) >= maxConns || c.from[ip] >= maxConnsFrom {
		return false
	}
	if c.open == nil {
		c.open, c.from = map[net.Conn]netip.Addr{}, map[netip.Addr]int{}
	}
	c.open[conn] = ip
	c.from[ip]++
	return true
}

func (c *conns) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ip := c.open[conn]
	delete(c.open, conn)
	if c.from[ip]--; c.from[ip] <= 0 {
		delete(c.from, ip)
	}
}

// wait sets the time by which the next question has to be there.
func (c *conns) wait(conn net.Conn, by time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return false
	}
	return conn.SetReadDeadline(by) == nil
}

// end lets no more questions come.
func (c *conns) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	for conn := range c.open {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut closes all connections.
func (c *conns) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close()
	}
}

// serveTCP accepts connections until the listener is closed, and waits for those that it has accepted.
func (s *Server) serveTCP(ctx context.Context, lis net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for failures := 0; ; {
		conn, err := lis.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept DNS connections: %w", err)
		case err != nil:
			if failures++; failures == 1 {
				s.cfg.Logger.Warn("connections cannot be accepted", "err", err)
			}
			if !pause(ctx, failures) {
				return nil
			}
			continue
		}
		failures = 0
		if !s.conns.add(conn) {
			s.counts.turnedAway.Add(1)
			_ = conn.Close()
			continue
		}
		wg.Go(func() { s.connection(conn) })
	}
}

// answers are the buffers of those that are being written, which are large.
var answers = sync.Pool{New: func() any { return new(make([]byte, 0, maxTogether+2+maxMessage)) }}

// maxTogether is from which size on answers do not wait for others, to questions that are there already, to go out with them.
const maxTogether = 4 << 10

// conversation is a connection, and what is not answered and not sent yet.
type conversation struct {
	conn net.Conn
	desk desk
	in   []byte
	rest []byte  // of in: what has come
	out  *[]byte // nil: nothing waits

	readBy, writeBy time.Time // the timeouts that are set
}

// connection answers one question after the other.
func (s *Server) connection(conn net.Conn) {
	defer s.recovered()
	defer conn.Close()
	defer s.conns.remove(conn)
	c := &conversation{conn: conn, in: make([]byte, 512)}
	defer c.send()
	for {
		if !whole(c.rest) && !(c.send() && c.wait(&s.conns) && c.read()) {
			return
		}
		size := 2 + int(binary.BigEndian.Uint16(c.rest))
		if !s.reply(c, c.rest[2:size]) {
			return
		}
		c.rest = c.rest[size:]
	}
}

// wait has time for the next question. Who ends all conversations has set a timeout that is over, which then stays.
func (c *conversation) wait(all *conns) bool {
	now := time.Now()
	if c.readBy.Sub(now) >= idleTimeout {
		return true
	}
	c.readBy = now.Add(idleTimeout + slack)
	return all.wait(c.conn, c.readBy)
}

// whole reports whether what has come has a question.
func whole(in []byte) bool { return len(in) >= 2 && len(in) >= 2+int(binary.BigEndian.Uint16(in)) }

// read reads until there is a question.
func (c *conversation) read() bool {
	n := copy(c.in, c.rest)
	for !whole(c.in[:n]) {
		if n >= 2 {
			size := int(binary.BigEndian.Uint16(c.in))
			if size > maxTCPQuestion {
				return false
			}
			if 2+size > len(c.in) {
				c.in = append(c.in[:n], make([]byte, 2+maxTCPQuestion-n)...)
			}
		}
		more, err := c.conn.Read(c.in[n:])
		if n += more; more == 0 && err != nil {
			return false
		}
	}
	c.rest = c.in[:n]
	return true
}

// reply answers one question, and reports whether another one may follow.
func (s *Server) reply(c *conversation, msg []byte) bool {
	if c.out == nil {
		c.out = answers.Get().(*[]byte)
		*c.out = (*c.out)[:0]
	}
	at := len(*c.out)
	out := s.answer(&c.desk, msg, (*c.out)[at+2:at+2], viaTCP)
	c.desk.w.b = nil
	if out == nil {
		return false
	}
	*c.out = (*c.out)[:at+2+len(out)]
	binary.BigEndian.PutUint16((*c.out)[at:], uint16(len(out)))
	return len(*c.out) < maxTogether || c.send()
}

// send sends the answers that wait.
func (c *conversation) send() bool {
	if c.out == nil {
		return true
	}
	out := c.out
	defer answers.Put(out)
	c.out = nil
	if len(*out) == 0 {
		return true
	}
	if now := time.Now(); c.writeBy.Sub(now) < writeTimeout {
		c.writeBy = now.Add(writeTimeout + slack)
		if err := c.conn.SetWriteDeadline(c.writeBy); err != nil {
			return false
		}
	}
	_, err := c.conn.Write(*out)
	return err == nil
}
