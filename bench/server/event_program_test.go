//go:build linux

package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// eventArgs are for a process with streams over HTTP, a connection each.
type eventArgs struct {
	Addr    string
	Request string // as it goes over the wire
	Mark    string // what a line begins with that is news
	Streams int
	Opening int // such lines to each that are none
}

// playEvents is playStreams over HTTP.
func playEvents(p *player) error {
	var args eventArgs
	if err := p.args(&args); err != nil {
		return err
	}
	c := &chorus{arrived: make(chan int64, args.Streams), failed: make(chan error, args.Streams)}
	for range args.Streams {
		go func() { c.failed <- c.hear(args) }() // ends with the process
	}
	return c.tell(p, args.Streams, args.Opening)
}

func (c *chorus) hear(args eventArgs) error {
	conn, err := net.Dial("tcp", args.Addr)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, args.Request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), []byte(args.Mark)) {
			c.arrived <- time.Now().UnixNano()
		}
	}
	return fmt.Errorf("a stream ended: %w", lines.Err())
}
