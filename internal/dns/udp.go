package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// packetBuffer is room for any question: what is longer is cut off, and then no question any more.
const packetBuffer = 4 << 10

// packets is a socket whose packets are answered.
type packets struct {
	net.PacketConn
	udp *net.UDPConn // nil: it is of another kind
	any bool         // it has several addresses, and answers have to come from the one that was asked
}

func newPackets(conn net.PacketConn) packets {
	p := packets{PacketConn: conn}
	p.udp, _ = conn.(*net.UDPConn)
	if p.udp == nil {
		return p
	}
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok && local.IP.IsUnspecified() {
		err4 := ipv4.NewPacketConn(p.udp).SetControlMessage(ipv4.FlagDst, true)
		err6 := ipv6.NewPacketConn(p.udp).SetControlMessage(ipv6.FlagDst, true)
		p.any = err4 == nil || err6 == nil
	}
	return p
}

// serveUDP starts as many readers as there are processors: nobody waits for more than a memory access, so more would not be faster.
func (s *Server) serveUDP(ctx context.Context, fail context.CancelCauseFunc, wg *sync.WaitGroup, conn net.PacketConn) {
	p := newPackets(conn)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() { fail(s.readPackets(ctx, p)) })
	}
}

// receiver is one who reads packets, and what he reads them into.
type receiver struct {
	packets
	desk
	in, out     []byte
	control     []byte // what came with a packet
	asked, from []byte // the last control that came, and what an answer to it has
}

func (s *Server) readPackets(ctx context.Context, p packets) error {
	r := &receiver{packets: p, in: make([]byte, packetBuffer), out: make([]byte, 0, maxPayload), control: make([]byte, 128)}
	for failures := 0; ; {
		err := s.packet(r)
		switch {
		case err == nil:
			failures = 0
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read DNS questions: %w", err)
		}
		if failures++; failures == 1 {
			s.cfg.Logger.Warn("questions cannot be read", "err", err)
		}
		if !pause(ctx, failures) {
			return nil
		}
	}
}

// pause waits for a little longer after each failure, and reports whether to go on.
func pause(ctx context.Context, failures int) bool {
	select {
	case <-time.After(min(time.Duration(failures)*5*time.Millisecond, time.Second)):
		return true
	case <-ctx.Done():
		return false
	}
}

// packet answers one packet. The error is that of reading it.
func (s *Server) packet(r *receiver) error {
	n, control, sender, from, err := r.read()
	if err != nil {
		return err
	}
	out := s.answerPacket(r, r.in[:n], from.Addr())
	if out == nil {
		return nil
	}
	switch {
	case r.udp == nil:
		_, _ = r.WriteTo(out, sender)
	case r.any:
		_, _, _ = r.udp.WriteMsgUDPAddrPort(out, r.source(control), from)
	default:
		_, _ = r.udp.WriteToUDPAddrPort(out, from) // an answer that is lost is asked for again
	}
	return nil
}

func (r *receiver) read() (n int, control []byte, sender net.Addr, from netip.AddrPort, err error) {
	switch {
	case r.udp == nil:
		n, sender, err = r.ReadFrom(r.in)
		if u, ok := sender.(*net.UDPAddr); ok {
			from = u.AddrPort()
		}
	case r.any:
		var size int
		n, size, _, from, err = r.udp.ReadMsgUDPAddrPort(r.in, r.control)
		control = r.control[:size]
	default:
		n, from, err = r.udp.ReadFromUDPAddrPort(r.in)
	}
	return n, control, sender, from, err
}

func (s *Server) answerPacket(r *receiver, msg []byte, from netip.Addr) (out []byte) {
	defer s.recovered()
	if s.limit.allows(from) {
		return s.answer(&r.desk, msg, r.out, viaUDP)
	}
	s.counts.limited.Add(1)
	if !s.limit.slip() {
		return nil
	}
	if out = s.slip(&r.desk, msg, r.out); out != nil {
		s.counts.slipped.Add(1)
	}
	return out
}

// recovered makes a mistake of ours cost one answer, and no more.
func (s *Server) recovered() {
	if p := recover(); p != nil {
		s.cfg.Logger.Error("a question made the DNS server panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// source returns what makes an answer leave from the address that its question came to.
func (r *receiver) source(control []byte) []byte {
	if !bytes.Equal(control, r.asked) {
		r.asked, r.from = bytes.Clone(control), sourceOf(control)
	}
	return r.from
}

func sourceOf(control []byte) []byte {
	var six ipv6.ControlMessage
	if six.Parse(control) == nil && six.Dst != nil && six.Dst.To4() == nil {
		return (&ipv6.ControlMessage{Src: six.Dst}).Marshal()
	}
	var four ipv4.ControlMessage
	dst := six.Dst
	if dst == nil && four.Parse(control) == nil {
		dst = four.Dst
	}
	if dst == nil {
		return nil
	}
	return (&ipv4.ControlMessage{Src: dst}).Marshal()
}
