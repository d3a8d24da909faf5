package integration

import (
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestServersOfAnEtcdThatIsDownOrWipedAreCalledWhileTheyLive(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	var servers []*greeter
	for range 5 {
		servers = append(servers, newGreeter(t).write(t, etcd))
	}
	reg := grpcRegistry(t, etcd)
	d := newDials()
	conn := dial(t, reg, d.option())
	tallyUntil(t, conn, 10, "calls to all", only(servers...))

	etcd.Stop()
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
	crashServer(t, conn, servers[4])
	tallyUntil(t, conn, 8, "calls to those that live while etcd is down", only(servers[:4]...))

	etcd.Wipe()
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return suspected(v) == len(servers) })
	tallyUntil(t, conn, 8, "calls to those that live after etcd was wiped", only(servers[:4]...))
	crashServer(t, conn, servers[3])
	joiner := newGreeter(t).write(t, etcd)
	tallyUntil(t, conn, 8, "calls to those that live and to one that joined", only(servers[0], servers[1], servers[2], joiner))
	tally(t, conn, 40)
	for n, g := range servers[:3] {
		if made := d.dialled()[g.addr]; made != 1 {
			t.Errorf("server %d was dialled %d times, want 1", n, made)
		}
	}
}

func TestAChannelThatIsMadeWhenAllAreSuspectsFindsThoseThatLive(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	alive, dead := newGreeter(t).write(t, etcd), newGreeter(t).write(t, etcd)
	reg := grpcRegistry(t, etcd)
	w := watch(t, reg, grpcService)
	next(t, w)
	dead.srv.Stop()
	etcd.Wipe()
	until(t, w, grpcPatience, "suspects", func(v *rollcall.View) bool { return suspected(v) == 2 })
	mustEqual(t, "calls", tally(t, dial(t, reg), 20), map[string]int{alive.addr: 20})
}
