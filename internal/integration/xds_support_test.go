package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	grpcxds "google.golang.org/grpc/xds"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/xds"
)

const xdsPatience = 30 * time.Second

// xdsServer is a server of xDS at an address that it keeps when it is restarted.
type xdsServer struct {
	*xds.Server

	addr string
	stop func() // ends it; idempotent
}

// serveXDS serves a registry, which follows everything, until the test ends.
func serveXDS(t testing.TB, reg *rollcall.Registry, cfg xds.Config) *xdsServer {
	t.Helper()
	return serveXDSAt(t, "127.0.0.1:0", reg, cfg)
}

func serveXDSAt(t testing.TB, addr string, reg *rollcall.Registry, cfg xds.Config) *xdsServer {
	t.Helper()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(xds.NewCodec()))
	s := &xdsServer{Server: xds.New(reg, cfg), addr: lis.Addr().String()}
	s.Register(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			s.EndStreams()
			srv.Stop()
			<-served
			s.Close()
		})
	}
	t.Cleanup(s.stop)
	return s
}

// xdsBootstrap is what a client is told to begin with: where the servers are, and where it is itself.
func xdsBootstrap(zone string, addrs ...string) []byte {
	var servers []any
	for _, addr := range addrs {
		servers = append(servers, map[string]any{
			"server_uri": addr, "channel_creds": []any{map[string]any{"type": "insecure"}}, "server_features": []string{"xds_v3"},
		})
	}
	text, err := json.Marshal(map[string]any{
		"xds_servers": servers,
		"node":        map[string]any{"id": "caller-" + zone, "locality": map[string]any{"zone": zone}},
	})
	if err != nil {
		panic(err)
	}
	return text
}

// dialXDS makes a channel by gRPC's own xDS client.
func dialXDS(t testing.TB, service string, bootstrap []byte, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	builder, err := grpcxds.NewXDSResolverWithConfigForTesting(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	opts = append(opts, grpc.WithResolvers(builder), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("xds:///"+service, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// caller calls without end, and counts.
type caller struct {
	t    testing.TB
	stop func()

	mu     sync.Mutex
	failed []string
	tally  map[string]int
}

// startCaller begins to call, a few calls at a time, until the test ends at the latest.
func startCaller(t testing.TB, conn *grpc.ClientConn) *caller {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &caller{t: t, tally: map[string]int{}}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.call(conn)
			}
		})
	}
	c.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(c.stop)
	return c
}

func (c *caller) call(conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed = append(c.failed, err.Error())
		return
	}
	c.tally[reply.GetMessage()]++
}

// next forgets what was counted, lets some calls be made, and returns who answered how many of them. A call that was under way when the
// counting began does not count.
func (c *caller) next(calls int) map[string]int {
	c.t.Helper()
	c.await("calls", func(tally map[string]int) bool { return callsIn(tally) >= 8 })
	c.reset()
	c.await("calls", func(tally map[string]int) bool { return callsIn(tally) >= calls })
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.tally)
}

func (c *caller) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tally)
}

// await waits until what was counted is as wanted.
func (c *caller) await(what string, wanted func(map[string]int) bool) {
	c.t.Helper()
	eventually(c.t, xdsPatience, what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return wanted(c.tally)
	})
}

// until waits until exactly the given addresses answer.
func (c *caller) until(addrs ...string) {
	c.t.Helper()
	slices.Sort(addrs)
	var last map[string]int
	eventually(c.t, xdsPatience, fmt.Sprint("only ", addrs, " to answer"), func() bool {
		last = c.next(40 * len(addrs))
		return slices.Equal(slices.Sorted(maps.Keys(last)), addrs)
	})
}

// unfailed ends the calls, and reports each that failed.
func (c *caller) unfailed() {
	c.t.Helper()
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) > 0 {
		c.t.Errorf("%d calls failed, the first one with %s", len(c.failed), c.failed[0])
	}
}

func callsIn(tally map[string]int) (n int) {
	for _, calls := range tally {
		n += calls
	}
	return n
}

// percentOf returns which part of the calls went to some addresses, in percent.
func percentOf(tally map[string]int, addrs ...string) float64 {
	n := 0
	for _, addr := range addrs {
		n += tally[addr]
	}
	return 100 * float64(n) / float64(callsIn(tally))
}
