package integration

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/peer"
)

// serversEnv makes this test binary a process with servers instead: its description.
const serversEnv = "ROLLCALL_TEST_SERVERS"

// serversSpec describes such a process.
type serversSpec struct {
	Etcd    string
	Servers int           // each has an address of its own
	Work    time.Duration // what a call takes
}

// servers is a process with servers, which does what it is told on its standard input and ends when that does.
type servers struct {
	cmd   *exec.Cmd
	in    *json.Encoder
	out   *json.Decoder
	addrs []string
}

// startServers starts processes with servers that listen and are not registered. They start side by side.
func startServers(t *testing.T, processes int, spec serversSpec) []*servers {
	t.Helper()
	encoded, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*servers, processes)
	for n := range all {
		cmd := exec.Command(os.Args[0], "-test.run=^TestServersProgram$")
		cmd.Env = append(os.Environ(), serversEnv+"="+string(encoded))
		cmd.Stderr = os.Stderr
		in, inErr := cmd.StdinPipe()
		out, outErr := cmd.StdoutPipe()
		if err := errors.Join(inErr, outErr); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = in.Close()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		all[n] = &servers{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out)}
	}
	for _, s := range all {
		if err := s.out.Decode(&s.addrs); err != nil {
			t.Fatal("a process with servers does not say where they are: ", err)
		}
	}
	return all
}

// do has the process carry out an order, and waits until it has: "register", "drain", or "leave": deregister all, have the
// calls under way finish, and stop.
func (s *servers) do(t *testing.T, order string) {
	t.Helper()
	failed := ""
	err := s.in.Encode(order)
	if err == nil {
		err = s.out.Decode(&failed)
	}
	if err != nil || failed != "" {
		t.Fatalf("%s: %v %s", order, err, failed)
	}
}

// kill ends the process as a crash does.
func (s *servers) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
}

// TestServersProgram is no test: it is the program of startServers.
func TestServersProgram(t *testing.T) {
	var spec serversSpec
	if json.Unmarshal([]byte(os.Getenv(serversEnv)), &spec) != nil {
		return
	}
	p := &serversProgram{spec: spec, reg: open(t, spec.Etcd)}
	for range spec.Servers {
		lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer()
		pb.RegisterGreeterServer(srv, p)
		go func() { _ = srv.Serve(lis) }()
		p.running, p.addrs = append(p.running, srv), append(p.addrs, lis.Addr().String())
	}
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	_ = answers.Encode(p.addrs)
	for order := ""; orders.Decode(&order) == nil; {
		failed := ""
		if err := p.do(order); err != nil {
			failed = err.Error()
		}
		_ = answers.Encode(failed)
	}
	p.stop((*grpc.Server).Stop)
}

type serversProgram struct {
	pb.UnimplementedGreeterServer
	spec    serversSpec
	reg     *rollcall.Registry
	running []*grpc.Server
	addrs   []string
	held    []*rollcall.Registration
}

// SayHello answers with the address that was called.
func (p *serversProgram) SayHello(ctx context.Context, _ *pb.HelloRequest) (*pb.HelloReply, error) {
	work := time.NewTimer(p.spec.Work)
	defer work.Stop()
	select {
	case <-work.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	caller, _ := peer.FromContext(ctx)
	return &pb.HelloReply{Message: caller.LocalAddr.String()}, nil
}

func (p *serversProgram) do(order string) error {
	ctx, cancel := context.WithTimeout(context.Background(), grpcPatience)
	defer cancel()
	switch order {
	case "register":
		return p.register(ctx)
	case "drain":
		return p.each(func(r *rollcall.Registration) error { return r.Drain(ctx) })
	case "leave":
		err := p.each(func(r *rollcall.Registration) error { return r.Deregister(ctx) })
		p.stop((*grpc.Server).GracefulStop)
		return err
	}
	return errors.New("unknown order " + order)
}

func (p *serversProgram) register(ctx context.Context) error {
	p.held = make([]*rollcall.Registration, len(p.addrs))
	errs := make([]error, len(p.addrs))
	var registering sync.WaitGroup
	for n, addr := range p.addrs {
		registering.Go(func() { p.held[n], errs[n] = p.reg.Register(ctx, grpcService, rollcall.Instance{Addr: addr}) })
	}
	registering.Wait()
	return errors.Join(errs...)
}

// each has all registrations do the same at once.
func (p *serversProgram) each(do func(*rollcall.Registration) error) error {
	errs := make([]error, len(p.held))
	var doing sync.WaitGroup
	for n, r := range p.held {
		doing.Go(func() { errs[n] = do(r) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

func (p *serversProgram) stop(how func(*grpc.Server)) {
	var stopping sync.WaitGroup
	for _, srv := range p.running {
		stopping.Go(func() { how(srv) })
	}
	stopping.Wait()
}
