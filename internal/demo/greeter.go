package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

// A call takes between leastWork and leastWork + moreWork: of 200 calls/s each of four servers gets one in 20 ms, and so
// has always two or three in hand. Stopping one without a drain shows.
const (
	leastWork = 40 * time.Millisecond
	moreWork  = 10 * time.Millisecond
)

// assignment is what a server process is told, as one JSON object on its standard input, which then stays open.
type assignment struct {
	Etcd     string
	ID       string
	Sabotage string
}

// RunGreeter is one server of the demo, and all that its process does: it serves until ctx ends, then drains and stops.
//
// What to serve is read from stdin. The end of stdin is the end of the process that started this one, and stops the
// server at once; reading goes on until then, in a goroutine that may outlive RunGreeter: call it last.
func RunGreeter(ctx context.Context, stdin io.Reader) error {
	in := json.NewDecoder(stdin)
	var a assignment
	if err := in.Decode(&a); err != nil {
		return fmt.Errorf("read what to serve: %w", err)
	}
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		close(orphaned)
	}()
	reg, err := rollcall.Open(rollcall.ClientConfig(a.Etcd))
	if err != nil {
		return err
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return a.serve(ctx, reg, lis, orphaned)
}

func (a assignment) serve(ctx context.Context, reg *rollcall.Registry, lis net.Listener, orphaned <-chan struct{}) error {
	var calls rollcallgrpc.Calls
	srv := grpc.NewServer(calls.ServerOptions()...)
	g := &greeter{id: a.ID, called: make(chan struct{}, 1)}
	pb.RegisterGreeterServer(srv, g)
	serving := context.WithoutCancel(ctx)
	serving, drain := context.WithCancel(serving)
	defer drain()
	served := make(chan error, 1)
	go func() {
		served <- rollcallgrpc.Serve(serving, srv, lis, reg, Service,
			rollcallgrpc.WithInstance(rollcall.Instance{ID: a.ID}),
			rollcallgrpc.WithCalls(&calls),
			rollcallgrpc.WithTTL(ttl))
	}()
	select {
	case err := <-served:
		return err
	case <-orphaned:
		srv.Stop() // nobody is left who could call, and no etcd to say goodbye to
		return nil
	case <-ctx.Done():
	}
	if a.Sabotage == StopAtOnce {
		g.awaitCall() // on a starved machine there may be none in hand just now, and nothing to see
		dieAtOnce()
	}
	drain()
	err := <-served
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), ttl) // after that etcd has forgotten it anyway
	defer cancel()
	if closeErr := reg.Close(closing); err == nil {
		err = closeErr
	}
	return err
}

// dieAtOnce ends the process before anything else in it gets to run: a mere return leaves time for a goodbye.
func dieAtOnce() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

type greeter struct {
	pb.UnimplementedGreeterServer
	id     string
	called chan struct{} // holds a token after a call has begun
}

// awaitCall waits for a call to begin, for at most a second.
func (g *greeter) awaitCall() {
	select {
	case <-g.called: // an old one
	default:
	}
	late := time.NewTimer(time.Second)
	defer late.Stop()
	select {
	case <-g.called:
	case <-late.C:
	}
}

func (g *greeter) SayHello(ctx context.Context, in *pb.HelloRequest) (*pb.HelloReply, error) {
	select {
	case g.called <- struct{}{}:
	default:
	}
	work := time.NewTimer(leastWork + rand.N(moreWork))
	defer work.Stop()
	select {
	case <-work.C:
		return &pb.HelloReply{Message: "Hello " + in.GetName() + " from " + g.id}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
