package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
func (c *conns) wait(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return false
	}
	return conn.SetReadDeadline(time.Now().Add(idleTimeout)) == nil
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
var answers = sync.Pool{New: func() any { return new(make([]byte, 0, 2+maxMessage)) }}

// connection answers one question after the other.
func (s *Server) connection(conn net.Conn) {
	defer s.recovered()
	defer conn.Close()
	defer s.conns.remove(conn)
	d, in := &desk{}, make([]byte, 512)
	for s.conns.wait(conn) {
		if _, err := io.ReadFull(conn, in[:2]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint16(in))
		if size > maxTCPQuestion {
			return
		}
		if size > len(in) {
			in = make([]byte, maxTCPQuestion)
		}
		if _, err := io.ReadFull(conn, in[:size]); err != nil {
			return
		}
		if !s.reply(conn, d, in[:size]) {
			return
		}
	}
}

// reply answers one question, and reports whether another one may follow.
func (s *Server) reply(conn net.Conn, d *desk, msg []byte) bool {
	buf := answers.Get().(*[]byte)
	defer answers.Put(buf)
	out := s.answer(d, msg, (*buf)[2:2], viaTCP)
	d.w.b = nil
	if out == nil {
		return false
	}
	whole := (*buf)[:2+len(out)]
	binary.BigEndian.PutUint16(whole, uint16(len(out)))
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return false
	}
	_, err := conn.Write(whole)
	return err == nil
}
