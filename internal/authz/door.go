package authz

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// doors count the connections from each address, at all listeners together.
type doors struct {
	guard *Guard
	tell  rate.Sometimes

	mu    sync.Mutex
	count map[string]int
}

// Listener returns a listener on which no address has more connections than it may. One too many is closed at once, before anything was
// spent on it.
func (g *Guard) Listener(l net.Listener) net.Listener {
	g.doors.mu.Lock()
	defer g.doors.mu.Unlock()
	if g.doors.count == nil {
		g.doors.count, g.doors.tell = map[string]int{}, rate.Sometimes{First: 3, Interval: 10 * time.Second}
	}
	return &door{l, &g.doors}
}

type door struct {
	net.Listener
	doors *doors
}

// Accept implements [net.Listener].
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addrOf(conn.RemoteAddr().String()).String()
		if d.doors.enter(from) {
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { d.doors.leave(from) })}, nil
		}
		_ = conn.Close()
	}
}

func (d *doors) enter(from string) bool {
	most := d.guard.rules.Load().limit("", func(l limits) int { return l.Connections })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count[from] < most {
		d.count[from]++
		return true
	}
	d.tell.Do(func() {
		d.guard.logger.Warn("too many connections from one address, more are closed", slog.String("from", from), slog.Int("most", most))
	})
	return false
}

func (d *doors) leave(from string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count[from]--; d.count[from] <= 0 {
		delete(d.count, from)
	}
}

// guest is a connection that gives its place back.
type guest struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *guest) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
