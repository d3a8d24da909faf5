package integration

import (
	"slices"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"google.golang.org/grpc"
)

// A deploy of 200 instances in 10 processes, each of which is replaced by another: the new one registers, the old one drains,
// and leaves when its callers call it no more. Two channels call all the time: one is connected to all, one to a subset.
func TestARollingDeployDialsOnlyWhatIsNewAndFailsNoCall(t *testing.T) {
	t.Parallel()
	const processes, each, subset = 10, 20, rollcall.DefaultSubsetSize
	etcd := etcdtest.Start(t)
	spec := serversSpec{Etcd: etcd.Endpoint(), Servers: each}
	fleet, successors := startServers(t, processes, spec), startServers(t, processes, spec)
	for _, p := range fleet {
		p.do(t, "register")
	}
	reg := grpcRegistry(t, etcd)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == processes*each })
	all, some := lookOn(t, reg, `{"subset":{"disabled":true}}`), lookOn(t, reg, `{}`)
	all.awaitAll(t, addrsOf(fleet)...)
	eventually(t, grpcPatience, "connections to a subset", func() bool { return some.connections() == subset })
	before := total(some.dialled())

	for n, old := range fleet {
		successors[n].do(t, "register")
		old.do(t, "drain")
		awaitNone(t, processes*each+each, old.addrs, all.callers, some.callers)
		old.do(t, "leave")
	}
	all.awaitAll(t, addrsOf(successors)...)
	all.mustNotFail(t)
	some.mustNotFail(t)

	once := map[string]int{}
	for _, addr := range slices.Concat(addrsOf(fleet), addrsOf(successors)) {
		once[addr] = 1
	}
	mustEqual(t, "dials of the channel to all", all.dialled(), once)

	// Who joins is in the subset with a chance of nearly a half, and so is who leaves and makes room for another: of 400
	// events 195 move a connection, give or take 10.
	if moved := total(some.dialled()) - before; moved > 250 {
		t.Errorf("the channel to a subset made %d connections in the course of the deploy", moved)
	}
	eventually(t, grpcPatience, "connections to a subset again", func() bool { return some.connections() == subset })
	eventually(t, grpcPatience, "as many connections as instances", func() bool { return all.connections() == processes*each })
}

// onlooker is a channel to a deployment, with callers.
type onlooker struct {
	*dials
	*callers
}

func lookOn(t *testing.T, reg *rollcall.Registry, config string) onlooker {
	t.Helper()
	d := newDials()
	conn := dial(t, reg, configured(reg, policyConfig("rollcall", config)), d.option())
	if _, err := greet(t, conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	return onlooker{d, startCallers(t, conn, 4)}
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

func addrsOf(processes []*servers) []string {
	var addrs []string
	for _, p := range processes {
		addrs = append(addrs, p.addrs...)
	}
	return addrs
}
