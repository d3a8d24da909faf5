package main

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/net/http2"
)

// listen hears what the server has to say, until the connection ends. What is then under way has failed.
func (c *conn) listen() {
	for {
		f, err := c.framer.ReadFrame()
		if streamErr := (http2.StreamError{}); errors.As(err, &streamErr) {
			c.end(streamErr.StreamID, answer{err: streamErr})
			continue
		}
		if err != nil {
			c.fail(0, fmt.Errorf("the connection broke: %w", err))
			_ = c.net.Close()
			return
		}
		c.hear(f)
	}
}

func (c *conn) hear(f http2.Frame) {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		if f.StreamEnded() {
			c.end(f.StreamID, status(f))
		}
	case *http2.DataFrame:
		c.taken(f)
	case *http2.RSTStreamFrame:
		c.end(f.StreamID, answer{err: fmt.Errorf("the server reset the call: %v", f.ErrCode)})
	case *http2.GoAwayFrame:
		why := fmt.Errorf("the server goes away, and takes no call after %d: %v", f.LastStreamID, f.ErrCode)
		if f.LastStreamID < math.MaxInt32 {
			c.fail(f.LastStreamID, why)
		}
		c.refuse(why)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.write(func() error { return c.framer.WritePing(true, f.Data) })
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.write(c.framer.WriteSettingsAck)
		}
	}
}

// taken lets the server send as much again as it has. An answer fits into a stream's own window.
func (c *conn) taken(f *http2.DataFrame) {
	if n := f.Length; n > 0 {
		c.write(func() error { return c.framer.WriteWindowUpdate(0, n) })
	}
}

// write writes a frame. If that fails, reading will, too.
func (c *conn) write(frame func() error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = frame()
}

// fail ends all calls later than the last one that the server takes, and takes no new ones.
func (c *conn) fail(last uint32, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil {
		c.closing = why
	}
	for id, answered := range c.streams {
		if id > last {
			delete(c.streams, id)
			answered <- answer{err: why}
		}
	}
}

// codes are the names of gRPC's statuses that the service can answer with; others are as well named by their numbers.
var codes = map[string]string{"0": "OK", "1": "Canceled", "4": "DeadlineExceeded", "12": "Unimplemented", "13": "Internal", "14": "Unavailable"}

// status is a call's end as the server tells it.
func status(f *http2.MetaHeadersFrame) answer {
	var a answer
	for _, field := range f.Fields {
		switch field.Name {
		case "grpc-status":
			if a.code = codes[field.Value]; a.code == "" {
				a.code = "code " + field.Value
			}
		case "grpc-message":
			a.message = field.Value
		}
	}
	if a.code == "" {
		a.err = fmt.Errorf("the call ended without a status of gRPC's, with %q", f.PseudoValue("status"))
	}
	return a
}
