package integration

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/randomsubsetting"
	_ "google.golang.org/grpc/balancer/ringhash"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/metadata"
)

func TestStandardPoliciesCallTheServersThatServe(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	for policy, config := range map[string]string{
		"round_robin":                    `{}`,
		"least_request_experimental":     `{"choiceCount":2}`,
		"random_subsetting_experimental": `{"subsetSize":3,"childPolicy":[{"round_robin":{}}]}`,
		"rollcall":                       `{"pick":"least_request"}`,
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			reg := grpcRegistry(t, etcd, rollcall.WithPrefix(t.Name()))
			a, b := newGreeter(t), newGreeter(t)
			leaver := a.register(t, reg, rollcall.Instance{})
			b.register(t, reg, rollcall.Instance{})
			newGreeter(t).register(t, reg, rollcall.Instance{State: rollcall.StateDraining})
			awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 3 })
			d := newDials()
			conn := dial(t, reg, configured(reg, policyConfig(policy, config)), d.option())
			tallyUntil(t, conn, 20, "calls to those that serve", only(a, b))
			update(t, leaver, func(i *rollcall.Instance) { i.Weight, i.Metadata = 50, map[string]string{"team": "b"} })
			c := newGreeter(t)
			c.register(t, reg, rollcall.Instance{})
			if err := leaver.Deregister(t.Context()); err != nil {
				t.Fatal(err)
			}
			tallyUntil(t, conn, 20, "calls to the one that joined, too", only(b, c))
			mustEqual(t, "dials", d.dialled(), map[string]int{a.addr: 1, b.addr: 1, c.addr: 1})
		})
	}
}

func TestPickFirstKeepsToOneServerAndFailsOver(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	a, b := newGreeter(t), newGreeter(t)
	a.register(t, reg, rollcall.Instance{})
	b.register(t, reg, rollcall.Instance{})
	conn := dial(t, reg, configured(reg, policyConfig("pick_first", `{}`)))
	counts := tally(t, conn, 20, grpc.WaitForReady(true))
	first, second := a, b
	if counts[b.addr] > 0 {
		first, second = b, a
	}
	mustEqual(t, "calls", counts, map[string]int{first.addr: 20})
	first.srv.Stop()
	eventually(t, grpcPatience, "calls to the other", func() bool {
		addr, err := greet(t, conn)
		return err == nil && addr == second.addr
	})
}

func TestRingHashSendsEqualKeysToOneServer(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	servers := map[string]bool{}
	for range 3 {
		g := newGreeter(t)
		g.register(t, reg, rollcall.Instance{})
		servers[g.addr] = true
	}
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 3 })
	conn := dial(t, reg, configured(reg, policyConfig("ring_hash_experimental", `{"requestHashHeader":"x-user"}`)))
	answered := map[string]bool{}
	for user := range 50 {
		ctx := metadata.AppendToOutgoingContext(within(t, grpcPatience), "x-user", fmt.Sprint("user ", user))
		first := ""
		for range 3 {
			reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = reply.Message
			}
			mustEqual(t, "the server of equal keys", reply.Message, first)
		}
		answered[first] = true
	}
	mustEqual(t, "the servers of 50 keys", answered, servers)
}

// The parent rewrites the list of endpoints and passes everything else on: what it left out must not be called, and what the
// registry knows of the others must not get lost.
func TestUnderASubsettingParentThePolicyGoesByItsEndpoints(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	registrations := map[string]*rollcall.Registration{}
	for range 5 {
		g := newGreeter(t)
		registrations[g.addr] = g.register(t, reg, rollcall.Instance{})
	}
	d := newDials()
	conn := dial(t, reg, d.option(), configured(reg,
		policyConfig("random_subsetting_experimental", `{"subsetSize":2,"childPolicy":[{"rollcall":{}}]}`)))
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 5 })
	chosen := map[string]int{}
	tallyUntil(t, conn, 40, "two servers, called alike", func(counts map[string]int) bool {
		chosen = counts
		return len(counts) == 2 && slices.Equal(slices.Collect(maps.Values(counts)), []int{20, 20})
	})
	addrs := slices.Sorted(maps.Keys(chosen))
	update(t, registrations[addrs[0]], func(i *rollcall.Instance) { i.Weight = 300 })
	tallyUntil(t, conn, 40, "three quarters for the one with three times the weight", func(counts map[string]int) bool {
		return len(counts) == 2 && counts[addrs[0]] >= 28 && counts[addrs[0]] <= 32
	})
	if err := registrations[addrs[0]].Drain(within(t, grpcPatience)); err != nil {
		t.Fatal(err)
	}
	tallyUntil(t, conn, 20, "another in place of the one that drains", func(counts map[string]int) bool {
		return len(counts) == 2 && counts[addrs[0]] == 0 && counts[addrs[1]] == 10
	})
	for addr, n := range d.dialled() {
		if n != 1 {
			t.Errorf("%s was dialled %d times, want 1", addr, n)
		}
	}
	eventually(t, grpcPatience, "two connections", func() bool { return d.connections() == 2 })
}
