package etcdtest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fault is what a proxy does to the bytes that come to it.
type fault int32

const (
	healthy fault = iota
	cut
	blackHole
	dropReplies
)

// Proxy stands between clients and a server as a network that can fail. It begins healthy; each of its methods replaces
// the fault before, and all may be called concurrently.
type Proxy struct {
	target   string
	listener net.Listener
	fault    atomic.Int32
	wg       sync.WaitGroup // the accepting goroutine and those of the connections

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // open ones, of both sides; guarded by mu
	closed bool                  // guarded by mu
}

// StartProxy starts a proxy for the server at target, which need not be up. The proxy ends when t ends.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start a proxy: %v", err)
	}
	p := &Proxy{target: target, listener: l, conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where clients find the proxy: host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut resets all connections, and each new one as soon as it is made: what a client sees of a server that is down.
func (p *Proxy) Cut() { p.set(cut, true) }

// BlackHole swallows everything, both ways: connections stay open, new ones are accepted, and nothing is ever heard.
// It is what a client sees of a member that hangs.
func (p *Proxy) BlackHole() { p.set(blackHole, false) }

// DropReplies lets the server hear its clients and swallows what it says: requests are carried out, and their callers
// never know.
func (p *Proxy) DropReplies() { p.set(dropReplies, false) }

// Heal makes the proxy work again. Connections that lived through a fault are reset, as by a network that has come back
// without its state: bytes are missing from them. On a healthy proxy Heal does nothing.
func (p *Proxy) Heal() { p.set(healthy, true) }

func (p *Proxy) set(f fault, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fault(p.fault.Swap(int32(f))) == f || !reset {
		return
	}
	for c := range p.conns {
		abort(c)
	}
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		abort(c)
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.admit(client) {
			p.wg.Go(func() { p.serve(client) })
		}
	}
}

// admit puts a connection on the books, or aborts it when there can be none now.
func (p *Proxy) admit(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || fault(p.fault.Load()) == cut {
		abort(c)
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) dismiss(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = c.Close()
}

// serve carries one client's connection until either side ends it or a method of the proxy does.
func (p *Proxy) serve(client net.Conn) {
	defer p.dismiss(client)
	if fault(p.fault.Load()) == blackHole {
		_, _ = io.Copy(io.Discard, client)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil || !p.admit(server) {
		return
	}
	defer p.dismiss(server)
	var replies sync.WaitGroup
	replies.Go(func() {
		p.carry(client, server, dropReplies)
		_ = client.Close()
	})
	p.carry(server, client, blackHole)
	_ = server.Close()
	replies.Wait()
}

// carry copies until either side ends, except what a black hole or the given fault swallows.
func (p *Proxy) carry(to, from net.Conn, swallowing fault) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if f := fault(p.fault.Load()); f == blackHole || f == swallowing {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// abort closes a connection as a network does that breaks: by a reset, whatever was still to be sent.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
