package simulation

import (
	"context"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fate is what becomes of a message at the point that a race is about.
type fate uint8

const (
	passes fate = iota
	breaks      // it is lost, and its sender or receiver is told that the connection broke
	falls       // nobody is told that it is lost; of a stream's messages: as little comes after it, for a while
)

var errBroke = status.Error(codes.Unavailable, "the test broke the connection")

// points stands between a registry's client and etcd and counts the messages: every request that is about to be sent and
// every reply that came is a point. At one of them it lets something happen before the message goes on.
type points struct {
	mu    sync.Mutex
	armed bool
	at    int                                           // the point at which to act; -1: none
	act   func(ctx context.Context, streamed bool) fate // called once, on the goroutine of the message
	names []string                                      // of the points passed while armed
	last  string                                        // where the last message went or came from
	acted bool
}

// arm begins to count.
func (p *points) arm(at int, act func(ctx context.Context, streamed bool) fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.at, p.act = true, at, act
}

// target returns where the last message went or came from.
func (p *points) target() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// disarm ends the counting and returns the points that were passed, and whether the one to act at was among them.
func (p *points) disarm() (names []string, acted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	return p.names, p.acted
}

// pass is called with each message.
func (p *points) pass(ctx context.Context, cc *grpc.ClientConn, name string, streamed bool) fate {
	p.mu.Lock()
	p.last = cc.Target()
	here := p.armed && len(p.names) == p.at
	if p.armed {
		p.names = append(p.names, name)
	}
	p.acted = p.acted || here
	p.mu.Unlock()
	if !here {
		return passes
	}
	return p.act(ctx, streamed)
}

// dialOptions puts the points into a client.
func (p *points) dialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(p.unary), grpc.WithChainStreamInterceptor(p.stream)}
}

func (p *points) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	name := path.Base(method)
	if f := p.pass(ctx, cc, name+" request", false); f != passes {
		return lost(ctx, f)
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if f := p.pass(ctx, cc, name+" reply", false); f != passes {
		return lost(ctx, f)
	}
	return err
}

// lost returns what a caller hears of a message that never arrives, when it hears anything.
func lost(ctx context.Context, f fate) error {
	if f == breaks {
		return errBroke
	}
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

func (p *points) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	name := path.Base(method)
	if f := p.pass(ctx, cc, name+" opening", true); f != passes {
		return nil, lost(ctx, f)
	}
	ctx, cancel := context.WithCancel(ctx)
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		cancel()
		return nil, err
	}
	return &pointed{ClientStream: s, ctx: ctx, cancel: cancel, points: p, conn: cc, name: name}, nil
}

// pointed is a stream whose messages are points. One that breaks at one of them does so as grpc's do: whoever sends is
// told of the end, and whoever receives of the reason.
type pointed struct {
	grpc.ClientStream
	ctx    context.Context
	cancel context.CancelFunc
	points *points
	conn   *grpc.ClientConn
	name   string
	broken atomic.Bool
}

func (s *pointed) SendMsg(m any) error {
	if s.points.pass(s.ctx, s.conn, s.name+" request", true) == breaks {
		s.broken.Store(true)
		s.cancel()
		return io.EOF
	}
	return s.ClientStream.SendMsg(m)
}

func (s *pointed) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil && s.points.pass(s.ctx, s.conn, s.name+" reply", true) == breaks {
		s.broken.Store(true)
	}
	if s.broken.Load() {
		err = errBroke
	}
	if err != nil {
		s.cancel()
	}
	return err
}

// timeline writes points as text, the one that was acted at marked.
func timeline(names []string, at int) string {
	var b strings.Builder
	for n, name := range names {
		if n > 0 {
			b.WriteString(", ")
		}
		if n == at {
			b.WriteString("HERE: ")
		}
		b.WriteString(name)
	}
	return b.String()
}
