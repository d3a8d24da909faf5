package integration

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// gRPC takes the port from the target, so that all servers have the same one, each at an address of its own of loopback: Linux has many.
const grpcServers = 3

// startGRPCServers registers servers of a service at the same port, and returns it.
func (w *foreignDNS) startGRPCServers(opts ...grpc.ServerOption) (port string, all []*greeter) {
	w.t.Helper()
	for port == "" {
		_, port, _ = net.SplitHostPort(freeAddr(w.t))
		for n := range grpcServers {
			addr := fmt.Sprintf("127.0.0.%d:%s", n+2, port)
			lis, err := net.Listen("tcp", addr)
			if err != nil { // somebody has it there
				for _, g := range all {
					_ = g.lis.Close()
				}
				port, all = "", nil
				break
			}
			g := &greeter{addr: addr, lis: lis, srv: grpc.NewServer(opts...)}
			pb.RegisterGreeterServer(g.srv, g)
			all = append(all, g)
		}
	}
	for _, g := range all {
		g.register(w.t, w.reg, rollcall.Instance{})
	}
	w.await(grpcService, grpcServers)
	return port, all
}

// dialByDNS is a channel to the target in the documentation, but of our service.
func (w *foreignDNS) dialByDNS(port string, opts ...grpc.DialOption) *grpc.ClientConn {
	w.t.Helper()
	target := regexp.MustCompile(`"(dns:.*)"`).FindStringSubmatch(w.example("gRPC without xDS or rollcall's library"))[1]
	target = strings.NewReplacer("web", grpcService, "50051", port).Replace(target)
	conn, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// greeted counts calls by the server that answered.
func greeted(t *testing.T, conn *grpc.ClientConn, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		reply, err := pb.NewGreeterClient(conn).SayHello(within(t, grpcPatience), &pb.HelloRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		got[reply.GetMessage()]++
	}
	return got
}

func TestGRPCsOwnResolverCallsAllServersAsTheTXTRecordSays(t *testing.T) {
	t.Parallel()
	w := startForeignDNS(t)
	port, all := w.startGRPCServers()
	conn := w.dialByDNS(port)
	eventually(t, grpcPatience, "calls to go to all servers in turn", func() bool {
		got := greeted(t, conn, 10*grpcServers)
		for _, g := range all {
			if got[g.addr] != 10 {
				return false
			}
		}
		return true
	})
	// Without the record gRPC stays with the first address that it can reach.
	if got := greeted(t, w.dialByDNS(port, grpc.WithDisableServiceConfig()), 10*grpcServers); len(got) != 1 {
		t.Errorf("a channel that takes no service config calls %v", got)
	}
}

func TestGRPCsOwnResolverTakesRetriesAndTimeoutsFromThePolicy(t *testing.T) {
	t.Parallel()
	for name, balancer := range map[string]string{"rollcall": "", "round_robin": "round_robin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startForeignDNS(t)
			policy := rollcall.Policy{Balancer: balancer, Timeout: 10 * time.Second, Retry: &rollcall.Retry{
				Attempts: 3, Backoff: 10 * time.Millisecond,
				On: []string{"UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "DATA_LOSS", "OUT_OF_RANGE"},
			}}
			if _, err := w.reg.SetPolicy(within(t, grpcPatience), grpcService, policy); err != nil {
				t.Fatal(err)
			}
			deadlines := make(chan time.Duration, 1000)
			port, all := w.startGRPCServers(grpc.UnaryInterceptor(failsAtFirst(deadlines)))
			eventually(t, grpcPatience, "the policy to be told", func() bool {
				text, err := w.resolver().LookupTXT(within(t, grpcPatience), "_grpc_config."+grpcService+".service.rollcall.")
				return err == nil && strings.Contains(text[0], "retryPolicy") && len(text[0]) > 255 // what a string of a TXT record has at most
			})

			conn := w.dialByDNS(port)
			const calls = 30
			mustEqual(t, "calls that were answered", sum(greeted(t, conn, calls)), calls)
			attempts := int64(0)
			for _, g := range all {
				if g.calls.Load() == 0 {
					t.Errorf("no call of %d has come to %s", calls, g.addr)
				}
				attempts += g.calls.Load()
			}
			mustEqual(t, "second attempts, which servers answer", attempts, calls)
			for range 2 * calls {
				if left := <-deadlines; left <= 0 || left > policy.Timeout {
					t.Fatalf("an attempt has %v left, and the policy's timeout is %v", left, policy.Timeout)
				}
			}
			_, err := pb.NewGreeterClient(w.dialByDNS(port, grpc.WithDisableServiceConfig())).SayHello(within(t, grpcPatience), &pb.HelloRequest{})
			if status.Code(err) != codes.Unavailable {
				t.Errorf("a channel that takes no service config ends with %v, want what servers answer at first", err)
			}
		})
	}
}

func sum(tally map[string]int) (n int) {
	for _, calls := range tally {
		n += calls
	}
	return n
}

// failsAtFirst has the first attempt of each call fail, and notes what time it was given.
func failsAtFirst(deadlines chan<- time.Duration) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		deadline, _ := ctx.Deadline()
		deadlines <- time.Until(deadline)
		if len(metadata.ValueFromIncomingContext(ctx, "grpc-previous-rpc-attempts")) == 0 {
			return nil, status.Error(codes.Unavailable, "not at first")
		}
		return handle(ctx, req)
	}
}
