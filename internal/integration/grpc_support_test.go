package integration

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/metadata"
)

const (
	grpcService = "jie-test"

	// grpcPatience ends a test that hangs. It is far from what anything here takes.
	grpcPatience = time.Minute
)

// grpcRegistry returns a registry with a client of its own.
func grpcRegistry(t *testing.T, etcd *etcdtest.Server, opts ...rollcall.Option) *rollcall.Registry {
	t.Helper()
	reg, err := rollcall.Open(rollcall.ClientConfig(etcd.Endpoint()), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), grpcPatience)
		defer cancel()
		_ = reg.Close(ctx)
	})
	return reg
}

// greeter is a Greeter server in this process. Its greeting is its address.
type greeter struct {
	pb.UnimplementedGreeterServer
	addr  string
	lis   net.Listener
	srv   *grpc.Server
	stop  func()          // ends the context of Serve
	ended <-chan struct{} // Serve has returned
	err   error           // with this; read when ended is closed

	work        time.Duration // what a call takes
	calls       atomic.Int64
	authorities sync.Map
	connections atomic.Int64
}

func (g *greeter) SayHello(ctx context.Context, _ *pb.HelloRequest) (*pb.HelloReply, error) {
	g.calls.Add(1)
	for _, authority := range metadata.ValueFromIncomingContext(ctx, ":authority") {
		g.authorities.Store(authority, true)
	}
	work := time.NewTimer(g.work)
	defer work.Stop()
	select {
	case <-work.C:
		return &pb.HelloReply{Message: g.addr}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept counts the connections that are made to the server.
func (g *greeter) Accept() (net.Conn, error) {
	conn, err := g.lis.Accept()
	if err == nil {
		g.connections.Add(1)
	}
	return conn, err
}

func (g *greeter) Close() error   { return g.lis.Close() }
func (g *greeter) Addr() net.Addr { return g.lis.Addr() }

// newGreeter makes a server that listens and does not serve yet.
func newGreeter(t *testing.T, opts ...grpc.ServerOption) *greeter {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &greeter{addr: lis.Addr().String(), lis: lis, srv: grpc.NewServer(opts...)}
	pb.RegisterGreeterServer(g.srv, g)
	return g
}

// serve has Serve run the server, until the test ends at the latest.
func (g *greeter) serve(t *testing.T, reg *rollcall.Registry, opts ...rollcallgrpc.ServeOption) *greeter {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	g.stop, g.ended = stop, ended
	// A test that does not look at the end need not wait for it.
	opts = append([]rollcallgrpc.ServeOption{rollcallgrpc.WithDrainDelay(200 * time.Millisecond)}, opts...)
	go func() {
		defer close(ended)
		g.err = rollcallgrpc.Serve(ctx, g.srv, g, reg, grpcService, opts...)
	}()
	t.Cleanup(func() {
		stop()
		g.wait(t)
	})
	return g
}

// register has the server run as an instance that the test steers itself.
func (g *greeter) register(t *testing.T, reg *rollcall.Registry, inst rollcall.Instance) *rollcall.Registration {
	t.Helper()
	g.run(t)
	inst.Addr = g.addr
	return register(t, reg, grpcService, inst)
}

// run has the server run without being registered, until the test ends at the latest.
func (g *greeter) run(t *testing.T) *greeter {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.srv.Serve(g)
	}()
	t.Cleanup(func() {
		g.srv.Stop()
		<-ended
	})
	return g
}

// wait waits until Serve returns.
func (g *greeter) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-g.ended:
		return g.err
	case <-time.After(grpcPatience):
		t.Error("Serve does not return")
		return nil
	}
}

// startGreeter runs a server and waits until it is registered.
func startGreeter(t *testing.T, reg *rollcall.Registry, opts ...rollcallgrpc.ServeOption) *greeter {
	t.Helper()
	g := newGreeter(t).serve(t, reg, opts...)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
	return g
}

// holds reports whether a view has an instance at each of the addresses.
func holds(v *rollcall.View, addrs ...string) bool {
	for _, addr := range addrs {
		if _, found := v.Get(addr); !found {
			return false
		}
	}
	return true
}

// awaitGreeters waits for a view of the service that is as wanted.
func awaitGreeters(t *testing.T, reg *rollcall.Registry, wanted func(*rollcall.View) bool) *rollcall.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	w := reg.Watch(grpcService)
	defer w.Close()
	for {
		view, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("wait for a view: %v", err)
		}
		if wanted(view) {
			return view
		}
	}
}

// dial makes a channel to the service by the front door.
func dial(t *testing.T, reg *rollcall.Registry, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := rollcallgrpc.NewClient(grpcService, reg, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// greet makes one call, and returns the address of the server that answered.
func greet(t *testing.T, conn *grpc.ClientConn, opts ...grpc.CallOption) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{}, opts...)
	return reply.GetMessage(), err
}

// greetUntil calls until all the addresses have answered. No call may fail.
func greetUntil(t *testing.T, conn *grpc.ClientConn, addrs ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, addr := range addrs {
		missing[addr] = true
	}
	for deadline := time.Now().Add(grpcPatience); len(missing) > 0; {
		addr, err := greet(t, conn)
		if err != nil {
			t.Fatalf("call while waiting for %v: %v", missing, err)
		}
		delete(missing, addr)
		if time.Now().After(deadline) {
			t.Fatalf("no call reached %v", missing)
		}
	}
}
