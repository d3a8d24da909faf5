//go:build linux

package integration

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dnsLoad asks a server. It has the questions ready and reads no more of an answer than its header.
type dnsLoad struct {
	network, addr string
	questions     [][]byte
	cursor        *atomic.Int64 // which question is next
	conns         []*dnsConn    // each of which asks as many questions at a time as any other
}

// dnsCount is what came back: answers that say something, and of these, those that say that they are not all.
type dnsCount struct {
	answers, failed, truncated, bytes, records int64
}

func (c *dnsCount) add(o dnsCount) {
	c.answers, c.failed, c.truncated = c.answers+o.answers, c.failed+o.failed, c.truncated+o.truncated
	c.bytes, c.records = c.bytes+o.bytes, c.records+o.records
}

// take counts an answer. One that says nothing has failed: all names exist.
func (c *dnsCount) take(msg []byte) {
	records := int64(binary.BigEndian.Uint16(msg[6:]))
	if msg[3]&15 != 0 || records == 0 {
		c.failed++
		return
	}
	c.answers++
	c.records += records
	c.bytes += int64(len(msg))
	if msg[2]&2 != 0 {
		c.truncated++
	}
}

const (
	dnsInFlight = 32              // of all connections
	dnsPatience = 5 * time.Second // as long as Go's resolver has
)

// dnsConn is one connection, or a socket.
type dnsConn struct {
	net.Conn
	load    *dnsLoad
	in, out []byte
}

// open opens the connections.
func (l *dnsLoad) open(b *testing.B, n int) {
	b.Helper()
	for range n {
		c := &dnsConn{load: l, in: make([]byte, 1<<16)}
		if err := c.dial(); err != nil {
			b.Fatal(err)
		}
		l.conns = append(l.conns, c)
	}
}

func (l *dnsLoad) close() {
	for _, c := range l.conns {
		_ = c.Close()
	}
}

func (c *dnsConn) dial() (err error) {
	if c.Conn != nil {
		_ = c.Close()
	}
	c.Conn, err = net.Dial(c.load.network, c.load.addr)
	return err
}

func (c *dnsConn) stream() bool { return c.load.network == "tcp" }

func (c *dnsConn) send(id uint16) error {
	q := c.load.questions[int(c.load.cursor.Add(1))%len(c.load.questions)]
	c.out = c.out[:0]
	if c.stream() {
		c.out = binary.BigEndian.AppendUint16(c.out, uint16(len(q)))
	}
	at := len(c.out)
	c.out = append(c.out, q...)
	binary.BigEndian.PutUint16(c.out[at:], id)
	_, err := c.Write(c.out)
	return err
}

var errNoAnswer = errors.New("that is no answer")

func (c *dnsConn) receive() ([]byte, error) {
	n, err := 0, error(nil)
	if c.stream() {
		if _, err := io.ReadFull(c, c.in[:2]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(c.in))
		_, err = io.ReadFull(c, c.in[:n])
	} else {
		n, err = c.Read(c.in)
	}
	if err == nil && (n < 12 || c.in[2]&0x80 == 0) {
		err = errNoAnswer
	}
	return c.in[:n], err
}

// ask asks one question on each connection.
func (l *dnsLoad) ask(b *testing.B) {
	b.Helper()
	for _, c := range l.conns {
		_ = c.SetReadDeadline(time.Now().Add(dnsPatience))
		err := c.send(0)
		if err == nil {
			_, err = c.receive()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// saturate asks for so long, and each time that there is an answer asks once more.
func (l *dnsLoad) saturate(window time.Duration) (sum dnsCount) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	end := time.Now().Add(window)
	for _, c := range l.conns {
		wg.Go(func() {
			count := c.exchange(dnsInFlight/len(l.conns), end)
			mu.Lock()
			defer mu.Unlock()
			sum.add(count)
		})
	}
	wg.Wait()
	return sum
}

// exchange is saturate on one connection. One that fails is opened again, for the next time.
func (c *dnsConn) exchange(most int, end time.Time) (count dnsCount) {
	flying := int64(0)
	for range most {
		if c.send(uint16(flying)) == nil {
			flying++
		}
	}
	for n := 0; flying > 0; n++ {
		if n%64 == 0 {
			_ = c.SetReadDeadline(time.Now().Add(dnsPatience))
		}
		msg, err := c.receive()
		if err != nil {
			count.failed += flying
			_ = c.dial()
			break
		}
		flying--
		count.take(msg)
		if time.Now().Before(end) && c.send(uint16(n)) == nil {
			flying++
		}
	}
	return count
}

// pace asks so many questions a second, whether or not there are answers, and returns how long those took that came, and how many did not.
func (l *dnsLoad) pace(window time.Duration, rate int) (times []time.Duration, late int64) {
	var sent [1 << 16]atomic.Int64
	var came atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for _, c := range l.conns {
		_ = c.SetReadDeadline(began.Add(window + dnsPatience))
		wg.Go(func() {
			for msg, err := c.receive(); err == nil; msg, err = c.receive() {
				took := time.Since(began) - time.Duration(sent[binary.BigEndian.Uint16(msg)].Load())
				came.Add(1)
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
			}
		})
	}
	asked := int64(0)
	for range time.Tick(time.Second / time.Duration(rate)) {
		sent[uint16(asked)].Store(int64(time.Since(began)))
		_ = l.conns[asked%int64(len(l.conns))].send(uint16(asked))
		if asked++; time.Since(began) > window {
			break
		}
	}
	for deadline := time.Now().Add(dnsPatience); came.Load() < asked && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	for _, c := range l.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // nobody waits any more
	}
	wg.Wait()
	return times, asked - came.Load()
}
