package faultproxy

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// depth is how many chunks a direction of a link holds at most while they are delayed, each of up to chunkSize bytes.
// When it is full the proxy reads no more, and TCP tells the sender.
const (
	depth     = 256
	chunkSize = 32 << 10
)

// link is a client's connection and the one to the server that was made for it.
type link struct {
	proxy  *Proxy
	client net.Conn
	server net.Conn           // nil until there is one; guarded by the proxy's mu until the link carries
	lossy  bool               // bytes may be missing; guarded by the proxy's mu
	dead   atomic.Bool        // half-open: nothing passes any more, not even an end
	ctx    context.Context    // done when the link has ended
	cancel context.CancelFunc // part of end and reset
}

// chunk is what was read at once, and when it may be delivered. The last one of a connection has no bytes.
type chunk struct {
	bytes []byte
	due   time.Time
}

// carry copies both ways until the link has ended.
func (l *link) carry() {
	var wg sync.WaitGroup
	direction := func(to, from net.Conn, swallowing fault) {
		queue := make(chan chunk, depth)
		wg.Go(func() { l.hear(queue, from) })
		wg.Go(func() { l.tell(to, queue, swallowing) })
	}
	direction(l.server, l.client, dropRequests)
	direction(l.client, l.server, dropReplies)
	wg.Wait()
}

// hear reads all that one side says, and at last that it has ended.
func (l *link) hear(queue chan<- chunk, from net.Conn) {
	buf := make([]byte, chunkSize)
	for {
		n, err := from.Read(buf)
		_, delay := l.proxy.now()
		now := time.Now()
		if n > 0 && !l.push(queue, chunk{slices.Clone(buf[:n]), now.Add(delay)}) {
			return
		}
		if err != nil {
			l.push(queue, chunk{nil, now.Add(delay)})
			return
		}
	}
}

func (l *link) push(queue chan<- chunk, c chunk) bool {
	select {
	case queue <- c:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// tell delivers to one side what was heard of the other, when it is due, except what a black hole, the given fault or a
// half-open connection swallows.
func (l *link) tell(to net.Conn, queue <-chan chunk, swallowing fault) {
	for {
		var c chunk
		select {
		case c = <-queue:
		case <-l.ctx.Done():
			return
		}
		l.wait(c.due)
		f, _ := l.proxy.now()
		switch {
		case l.dead.Load(): // not even an end
		case c.bytes == nil:
			l.end()
		case f == blackHole || f == swallowing:
		default:
			if _, err := to.Write(c.bytes); err != nil && !l.dead.Load() {
				l.end()
			}
		}
	}
}

// wait waits until the time has come or the link has ended.
func (l *link) wait(due time.Time) {
	left := time.Until(due)
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
	}
}

// end closes both connections.
func (l *link) end() {
	l.cancel()
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}

// reset ends both connections as a network does that breaks. It is called with the proxy's mu held.
func (l *link) reset() {
	l.cancel()
	abort(l.client)
	if l.server != nil {
		abort(l.server)
	}
}

// abort closes a connection by a reset, whatever was still to be sent.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
