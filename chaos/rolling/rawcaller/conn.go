package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn is one HTTP/2 connection. Calls may be made on it concurrently.
type conn struct {
	addr string
	net  net.Conn

	writing sync.Mutex
	framer  *http2.Framer  // its writing half is guarded by writing; the reading half is listen's
	header  *hpack.Encoder // into block; guarded by writing
	block   bytes.Buffer   // guarded by writing
	nextID  uint32         // guarded by writing

	mu      sync.Mutex
	streams map[uint32]chan answer // of the calls under way; guarded by mu
	closing error                  // why it takes no new calls; guarded by mu
}

// answer is how a call has ended: with a status of gRPC's, or not.
type answer struct {
	code, message string
	err           error
}

var (
	errUnsent  = errors.New("the call was not sent")
	errRetired = errors.New("the connection is no longer used")

	// noMessage is a request: a message of gRPC's without compression and of no bytes.
	noMessage = make([]byte, 5)
)

// dial connects, and returns when the server has answered.
func dial(ctx context.Context, addr string) (*conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{addr: addr, net: nc, framer: http2.NewFramer(nc, nc), nextID: 1, streams: map[uint32]chan answer{}}
	c.header = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	until, _ := ctx.Deadline()
	_ = nc.SetDeadline(until)
	if err := c.greet(); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("greet %s: %w", addr, err)
	}
	_ = nc.SetDeadline(time.Time{})
	go c.listen() // ends with the connection
	return c, nil
}

// greet exchanges what each side has to say first.
func (c *conn) greet() error {
	if _, err := io.WriteString(c.net, http2.ClientPreface); err != nil {
		return err
	}
	if err := c.framer.WriteSettings(); err != nil {
		return err
	}
	f, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	if _, settings := f.(*http2.SettingsFrame); !settings {
		return fmt.Errorf("the server said %v first", f.Header())
	}
	return c.framer.WriteSettingsAck()
}

func (c *conn) takesCalls() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing == nil
}

// call makes one call without a message in it, and returns its status when the server has told it.
func (c *conn) call(ctx context.Context, method string) answer {
	id, answered := c.begin(ctx, method)
	select {
	case a := <-answered:
		return a
	case <-ctx.Done():
		c.end(id, answer{err: ctx.Err()})
		c.write(func() error { return c.framer.WriteRSTStream(id, http2.ErrCodeCancel) })
		return <-answered
	}
}

// begin sends a call, if the connection still takes calls.
func (c *conn) begin(ctx context.Context, method string) (id uint32, answered chan answer) {
	c.writing.Lock()
	defer c.writing.Unlock()
	answered = make(chan answer, 1)
	if !c.takes(c.nextID, answered) {
		answered <- answer{err: errUnsent}
		return 0, answered
	}
	id = c.nextID
	c.nextID += 2
	c.block.Reset()
	for _, f := range c.headers(ctx, method) {
		_ = c.header.WriteField(f) // into memory
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true})
	if err == nil {
		err = c.framer.WriteData(id, true, noMessage)
	}
	if err != nil {
		c.end(id, answer{err: err})
	}
	return id, answered
}

// takes notes a call that is to begin, unless the connection takes none any more.
func (c *conn) takes(id uint32, answered chan answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil {
		c.streams[id] = answered
	}
	return c.closing == nil
}

func (c *conn) headers(ctx context.Context, method string) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method},
		{Name: ":authority", Value: c.addr},
		{Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"},
	}
	if until, bounded := ctx.Deadline(); bounded {
		fields = append(fields, hpack.HeaderField{Name: "grpc-timeout", Value: strconv.FormatInt(time.Until(until).Milliseconds(), 10) + "m"})
	}
	return fields
}

// end ends a call, if it is under way, and after the last one a connection that takes no more.
func (c *conn) end(id uint32, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answered, underWay := c.streams[id]
	if !underWay {
		return
	}
	delete(c.streams, id)
	answered <- a
	c.closeIfIdle()
}

func (c *conn) retire() { c.refuse(errRetired) }

// refuse takes no more calls.
func (c *conn) refuse(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil {
		c.closing = why
	}
	c.closeIfIdle()
}

// closeIfIdle is called with mu held.
func (c *conn) closeIfIdle() {
	if c.closing != nil && len(c.streams) == 0 {
		_ = c.net.Close()
	}
}
