//go:build linux

package server

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// streamsPerConn is how many streams share a connection: those of a proxy, or of a gateway, rather than of one program.
const streamsPerConn = 500

// streamArgs are for a process with streams: all ask the same, and look at nothing of what they are told.
type streamArgs struct {
	Addr, Method string
	Request      []byte
	Streams      int
	Opening      int  // responses to each that are no news
	More         bool // requests may follow
}

// arrival is when the streams had been told of something.
type arrival struct {
	P50, P99, Last int64 // of all streams, in Unix nanoseconds
}

// playStreams says for each round of responses when they came; first that all streams are there.
func playStreams(p *player) error {
	var args streamArgs
	if err := p.args(&args); err != nil {
		return err
	}
	c := &chorus{arrived: make(chan int64, args.Streams), failed: make(chan error, args.Streams)}
	for n := 0; n < args.Streams; n += streamsPerConn {
		conn, err := grpc.NewClient(args.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		for range min(streamsPerConn, args.Streams-n) {
			go func() { c.failed <- c.listen(conn, args) }() // ends with the process
		}
	}
	return c.tell(p, args.Streams, args.Opening)
}

// chorus is streams that are told the same.
type chorus struct {
	arrived chan int64
	failed  chan error
}

func (c *chorus) listen(conn *grpc.ClientConn, args streamArgs) error {
	stream, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: args.More}, args.Method, grpc.ForceCodecV2(verbatim{}))
	if err == nil {
		err = stream.SendMsg(args.Request)
	}
	for err == nil {
		if err = stream.RecvMsg(nil); err == nil {
			c.arrived <- time.Now().UnixNano()
		}
	}
	return fmt.Errorf("a stream ended: %w", err)
}

// tell answers once when all streams have had their first responses, and from then on for each round.
func (c *chorus) tell(p *player, streams, opening int) error {
	left := make(chan struct{})
	var once sync.WaitGroup
	once.Go(func() {
		_ = p.untilLeft()
		close(left)
	})
	round := make([]time.Duration, 0, streams)
	for skip := streams * opening; ; {
		select {
		case at := <-c.arrived:
			if skip > 0 {
				if skip--; skip > 0 {
					continue
				}
			} else if round = append(round, time.Duration(at)); len(round) < streams {
				continue
			}
			if err := p.say(arrivalOf(round)); err != nil {
				return err
			}
			round = round[:0]
		case err := <-c.failed:
			return err
		case <-left:
			os.Exit(0) // and all that listens with it
		}
	}
}

func arrivalOf(round []time.Duration) arrival {
	s := spreadOf(round)
	return arrival{int64(s.P50), int64(s.P99), int64(s.Max)}
}

// verbatim sends bytes as they are, and reads none.
type verbatim struct{}

// Marshal implements [encoding.CodecV2].
func (verbatim) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

// Unmarshal implements [encoding.CodecV2].
func (verbatim) Unmarshal(mem.BufferSlice, any) error { return nil }

// Name implements [encoding.CodecV2].
func (verbatim) Name() string { return "proto" }
