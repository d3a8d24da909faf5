package integration

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/resolver"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
)

// write has the server run, and puts it into etcd without a registry: nobody renews its lease, nobody puts it back.
func (g *greeter) write(t *testing.T, etcd *etcdtest.Server) *greeter {
	t.Helper()
	client := etcd.Client(t)
	lease, err := client.Grant(within(t, grpcPatience), 3600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Put(within(t, grpcPatience), "rollcall/services/"+grpcService+"/"+g.addr, fmt.Sprintf(`{"Op":0,"Addr":%q}`, g.addr), clientv3.WithLease(lease.ID))
	if err != nil {
		t.Fatal(err)
	}
	return g.run(t)
}

// policyConfig is a service config that chooses a load-balancing policy.
func policyConfig(policy, config string) string {
	return fmt.Sprintf(`{"loadBalancingConfig":[{%q:%s}]}`, policy, config)
}

// configured has a channel find its servers in reg and go by a service config.
func configured(reg *rollcall.Registry, config string) grpc.DialOption {
	return grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithServiceConfig(config)))
}

// dials counts the connections that channels make and those that are open, by address.
type dials struct {
	mu   sync.Mutex
	made map[string]int // tried, too
	open map[string]int
}

func newDials() *dials { return &dials{made: map[string]int{}, open: map[string]int{}} }

// option has a channel be counted.
func (d *dials) option() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		d.count(d.made, addr, 1)
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		d.count(d.open, addr, 1)
		return &dialledConn{Conn: conn, closed: sync.OnceFunc(func() { d.count(d.open, addr, -1) })}, nil
	})
}

func (d *dials) count(in map[string]int, addr string, by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in[addr] += by
}

// dialled returns how often each address was dialled.
func (d *dials) dialled() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.made)
}

// connections returns how many are open.
func (d *dials) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, open := range d.open {
		n += open
	}
	return n
}

type dialledConn struct {
	net.Conn
	closed func()
}

func (c *dialledConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// tally makes n calls, and counts which servers answered. No call may fail.
func tally(t *testing.T, conn *grpc.ClientConn, n int, opts ...grpc.CallOption) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		addr, err := greet(t, conn, opts...)
		if err != nil {
			t.Fatalf("a call after %v: %v", counts, err)
		}
		counts[addr]++
	}
	return counts
}

// tallyUntil tallies n calls at a time until they are as wanted.
func tallyUntil(t *testing.T, conn *grpc.ClientConn, n int, what string, wanted func(map[string]int) bool) {
	t.Helper()
	for deadline := time.Now().Add(grpcPatience); ; {
		counts := tally(t, conn, n)
		if wanted(counts) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; of %d calls there were %v", grpcPatience, what, n, counts)
		}
	}
}

// crashServer ends a server while nothing is under way to it, and waits until the channel has noticed.
func crashServer(t *testing.T, conn *grpc.ClientConn, g *greeter) {
	t.Helper()
	g.srv.Stop()
	eventually(t, grpcPatience, "calls that do not fail", func() bool {
		for range 20 {
			if addr, err := greet(t, conn); err != nil || addr == g.addr {
				return false
			}
		}
		return true
	})
}

// only tells whether a tally has calls at each of the servers, and nowhere else.
func only(servers ...*greeter) func(map[string]int) bool {
	return func(counts map[string]int) bool {
		for _, g := range servers {
			if counts[g.addr] == 0 {
				return false
			}
		}
		return len(counts) == len(servers)
	}
}

// callers call a service all the time, without a retry policy and without waiting for ready unless told to.
type callers struct {
	calls atomic.Int64

	mu      sync.Mutex
	last    map[string]int64 // by server: the number of the last call that it answered
	recent  [400]string      // the servers that answered the last calls
	failed  []error
	slowest time.Duration
}

// startCallers has n callers call until the test ends.
func startCallers(t *testing.T, conn *grpc.ClientConn, n int, opts ...grpc.CallOption) *callers {
	t.Helper()
	c := &callers{last: map[string]int64{}}
	ctx, cancel := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	for range n {
		calling.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grpcPatience)
				reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{}, opts...)
				cancel()
				c.record(reply.GetMessage(), err, time.Since(began))
			}
		})
	}
	t.Cleanup(calling.Wait)
	t.Cleanup(cancel)
	return c
}

func (c *callers) record(addr string, err error, took time.Duration) {
	n := c.calls.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowest = max(c.slowest, took)
	if err != nil {
		c.failed = append(c.failed, err)
		return
	}
	c.last[addr] = n
	c.recent[n%int64(len(c.recent))] = addr
}

// awaitShares waits until the last 400 calls of all together are shared out as wanted, which is told how many of 100 went
// where. One caller alone, among others, has no even share of what is shared out evenly.
func (c *callers) awaitShares(t *testing.T, what string, wanted func(map[string]int) bool) {
	t.Helper()
	c.more(t, int64(len(c.recent)))
	var shares map[string]int
	defer func() {
		if t.Failed() {
			t.Logf("of 100 calls there were %v", shares)
		}
	}()
	eventually(t, grpcPatience, what, func() bool { shares = c.shares(); return wanted(shares) })
}

// shares returns how many of 100 calls, rounded up, each server has answered of late.
func (c *callers) shares() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[string]int{}
	for _, addr := range c.recent {
		counts[addr]++
	}
	for addr, n := range counts {
		counts[addr] = (n*100 + len(c.recent) - 1) / len(c.recent)
	}
	return counts
}

// more waits for n further calls.
func (c *callers) more(t *testing.T, n int64) {
	t.Helper()
	awaitCount(t, &c.calls, c.calls.Load()+n)
}

// awaitAll waits until each of the servers has answered a call from now on.
func (c *callers) awaitAll(t *testing.T, addrs ...string) {
	t.Helper()
	from := c.calls.Load()
	eventually(t, grpcPatience, "calls to all", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, addr := range addrs {
			if c.last[addr] <= from {
				return false
			}
		}
		return true
	})
}

// awaitNone waits until n calls of each of some callers in a row have not gone to any of the servers.
func awaitNone(t *testing.T, n int64, addrs []string, all ...*callers) {
	t.Helper()
	from := make([]int64, len(all))
	for i, c := range all {
		from[i] = c.calls.Load()
	}
	eventually(t, grpcPatience, fmt.Sprintf("%d calls to others", n), func() bool {
		for i, c := range all {
			if c.since(from[i], addrs) < n {
				return false
			}
		}
		return true
	})
}

// since returns how many calls there were since the last one to any of the servers, and since a certain one.
func (c *callers) since(last int64, addrs []string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, addr := range addrs {
		last = max(last, c.last[addr])
	}
	return c.calls.Load() - last
}

// mustNotFail fails the test if a call did.
func (c *callers) mustNotFail(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) > 0 {
		t.Errorf("%d of %d calls failed, the first with %v", len(c.failed), c.calls.Load(), c.failed[0])
	}
}
