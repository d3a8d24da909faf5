// Package faultproxy is a network that fails: a TCP proxy on loopback which a test puts between clients and a server, and
// tells what goes wrong. It needs nothing beyond loopback, and knows nothing of what the bytes mean. Only tests may import it.
//
//	p := faultproxy.Start(t, server.Endpoint())
//	client := dial(p.Addr())
//	p.BlackHole()
package faultproxy

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between clients and a server as a network that can fail. It begins healthy; each of its methods but Reset
// replaces the fault before, and all may be called concurrently. Whatever the fault, a side that ends its connection ends
// it for the other side too, unless [Proxy.HalfOpen] was called in between.
type Proxy struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup // the accepting goroutine and those of the links

	mu     sync.Mutex
	fault  fault              // guarded by mu
	delay  time.Duration      // guarded by mu
	links  map[*link]struct{} // those that have not ended; guarded by mu
	closed bool               // guarded by mu
}

// fault is what a proxy does to the bytes that come to it.
type fault int

const (
	healthy fault = iota // or slow: bytes are held for the proxy's delay
	cut
	blackHole
	dropRequests
	dropReplies
)

// loses tells whether bytes are missing from a connection that lived through the fault.
func (f fault) loses() bool { return f == blackHole || f == dropRequests || f == dropReplies }

// Start starts a proxy for the server at target, which need not be up. The proxy ends when t ends.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start a proxy: %v", err)
	}
	p := &Proxy{target: target, listener: l, links: make(map[*link]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where clients find the proxy: host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut resets all connections, and each new one as soon as it is made: what a client sees of a server that is down.
func (p *Proxy) Cut() {
	p.set(cut, 0)
	p.Reset()
}

// BlackHole swallows everything, both ways: connections stay open, new ones are accepted, and nothing is ever heard.
// It is what a client sees of a member that hangs.
func (p *Proxy) BlackHole() { p.set(blackHole, 0) }

// DropReplies lets the server hear its clients and swallows what it says: requests are carried out, and their callers
// never know.
func (p *Proxy) DropReplies() { p.set(dropReplies, 0) }

// DropRequests lets clients hear the server and swallows what they say: what the server tells of its own accord still
// comes, for instance the events of a watch that was made before, and nothing new can be asked for.
func (p *Proxy) DropRequests() { p.set(dropRequests, 0) }

// Delay holds every byte for d in each direction, so that a round trip takes 2 d longer; nothing is lost, and nothing
// overtakes. A link that holds a few megabytes takes no more until some of them are through. Making a connection takes no
// longer.
func (p *Proxy) Delay(d time.Duration) { p.set(healthy, d) }

// Reset resets all connections, once: a flap. New ones meet the proxy as it is.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// HalfOpen swallows everything on the connections that there are, both ways, their ends as well: they stay open and
// silent whatever either side does, until Heal or Reset. New connections work. It is what is left of a connection when
// a machine lost its power and is back, or when a firewall forgot its connections, and nothing says so.
func (p *Proxy) HalfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(healthy, 0)
	for l := range p.links {
		l.lossy = true
		l.dead.Store(true)
	}
}

// Heal makes the proxy work again. Connections that lived through a fault which lost bytes are reset, as by a network
// that has come back without its state. On a healthy proxy, and on one that was only slow, Heal resets nothing.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(healthy, 0)
	for l := range p.links {
		if l.lossy {
			l.reset()
		}
	}
}

func (p *Proxy) set(f fault, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(f, delay)
}

// become is called with mu held.
func (p *Proxy) become(f fault, delay time.Duration) {
	p.fault, p.delay = f, delay
	for l := range p.links {
		l.lossy = l.lossy || f.loses()
	}
}

// now is the fault of this moment.
func (p *Proxy) now() (f fault, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.delay
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Reset()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if l := p.admit(client); l != nil {
			p.wg.Go(func() { p.serve(l) })
		}
	}
}

// admit puts a client's connection on the books, or aborts it when there can be none now.
func (p *Proxy) admit(client net.Conn) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.fault == cut {
		abort(client)
		return nil
	}
	l := &link{proxy: p, client: client, lossy: p.fault.loses()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	p.links[l] = struct{}{}
	return l
}

// serve carries one client's connection until either side ends it or a method of the proxy does.
func (p *Proxy) serve(l *link) {
	defer p.dismiss(l)
	if f, _ := p.now(); f == blackHole {
		_, _ = io.Copy(io.Discard, l.client)
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err == nil && p.join(l, server) {
		l.carry()
	}
}

// join gives a link its other side, unless it has been reset meanwhile.
func (p *Proxy) join(l *link, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.ctx.Err() != nil {
		abort(server)
		return false
	}
	l.server = server
	return true
}

func (p *Proxy) dismiss(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	l.end()
}
