package integration

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// A call that is sent to a connection that is lost waits for the next picker: it must not be one that is gathering good news.
func TestAKilledServerFailsItsCallsUnderWayAndDelaysNoOther(t *testing.T) {
	t.Parallel()
	const n = 64
	etcd := etcdtest.Start(t)
	fleet := startServers(t, 2, serversSpec{Etcd: etcd.Endpoint(), Servers: 1, Work: 5 * time.Millisecond})
	for _, p := range fleet {
		p.do(t, "register")
	}
	d := newDials()
	conn := dial(t, grpcRegistry(t, etcd), d.option())
	c := startCallers(t, conn, n, grpc.WaitForReady(true))
	c.awaitAll(t, addrsOf(fleet)...)

	victim, survivor := fleet[0], fleet[1]
	victim.kill(t)
	awaitNone(t, 4*n, victim.addrs, c)
	c.more(t, 200)

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, err := range c.failed {
		if status.Code(err) != codes.Unavailable {
			t.Errorf("a call failed with %v, want Unavailable: nobody knows what the killed server has done", err)
		}
	}
	if len(c.failed) > n {
		t.Errorf("%d calls failed, %d at most were under way", len(c.failed), n)
	}
	if c.slowest > 2*time.Second { // news is gathered for 50 ms at most, and 1 ms here
		t.Errorf("a call took %v", c.slowest)
	}
	if made := d.dialled()[survivor.addrs[0]]; made != 1 {
		t.Errorf("the server that was not killed was dialled %d times, want 1", made)
	}
}

func TestServersThatLimitTheAgeOfConnectionsFailNoCall(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	for name, servers := range map[string]int{"one server": 1, "two servers": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := grpcRegistry(t, etcd, rollcall.WithPrefix(t.Name()))
			d := newDials()
			var addrs []string
			for range servers {
				g := newGreeter(t, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 200 * time.Millisecond, MaxConnectionAgeGrace: grpcPatience}))
				g.work = time.Millisecond
				g.register(t, reg, rollcall.Instance{})
				addrs = append(addrs, g.addr)
			}
			conn := dial(t, reg, d.option())
			c := startCallers(t, conn, 4)
			eventually(t, grpcPatience, "five connections to each", func() bool {
				made := d.dialled()
				for _, addr := range addrs {
					if made[addr] < 5 {
						return false
					}
				}
				return true
			})
			c.awaitAll(t, addrs...)
			c.mustNotFail(t)
		})
	}
}
