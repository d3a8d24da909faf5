package server_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/internal/server"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// carePatience is for one answer; a member that does not answer costs it.
const carePatience = 2 * time.Second

func careOf(t *testing.T, endpoints ...string) *server.Care {
	t.Helper()
	care, err := server.OpenCare(bounded(t), server.Config{Etcd: endpoints}, carePatience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(care.Close)
	return care
}

func quietly(int64, int64) {}

// waste makes a member's file larger than what it holds.
func waste(t *testing.T, client *clientv3.Client) {
	t.Helper()
	var last int64
	for range 40 {
		resp, err := client.Put(bounded(t), "waste", strings.Repeat("x", 64<<10))
		if err != nil {
			t.Fatal(err)
		}
		last = resp.Header.Revision
	}
	if _, err := client.Compact(bounded(t), last, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// roster is how a cluster looks: each member's name, "!" when it leads, "?" when it does not answer, "-" when it has no vote.
func roster(t *testing.T, care *server.Care) (roster []string, leader string) {
	t.Helper()
	all, agreed, err := care.Members(bounded(t))
	for deadline := time.Now().Add(20 * time.Second); (err != nil || !agreed) && time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		all, agreed, err = care.Members(bounded(t)) // one that has just been told of a change may be behind
	}
	if err != nil || !agreed {
		t.Fatalf("members are not agreed on: %t, %v", agreed, err)
	}
	for _, m := range all {
		word := m.Name
		if m.Leader {
			leader = m.Name
		}
		if m.Endpoint == "" {
			word += "?"
		}
		if m.Learner {
			word += "-"
		}
		roster = append(roster, word)
	}
	return roster, leader
}

// wantRoster waits for it: who leads, and who is seen, takes a moment to settle after a change.
func wantRoster(t *testing.T, care *server.Care, want ...string) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got, _ := roster(t, care)
		if diff = cmp.Diff(want, got); diff == "" {
			return
		}
	}
	t.Fatalf("members (-want +got):\n%s", diff)
}

func TestThreeMembersAreDefragmentedOneByOneTheLeaderLast(t *testing.T) {
	t.Parallel()
	cfgs := members(t)
	infos, _ := startAll(t, cfgs)
	care := careOf(t, infos[0].Endpoints[0]) // the others are found by what they tell
	waste(t, connect(t, infos[0]))
	wantRoster(t, care, "a", "b", "c")
	_, leader := roster(t, care)

	var order []string
	for d, err := range care.Defrag(bounded(t), timeout, false) {
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, d.Member.Name)
		if d.After >= d.Before {
			t.Errorf("member %s gave nothing back: %d bytes before, %d after", d.Member.Name, d.Before, d.After)
		}
	}
	if len(order) != 3 || order[2] != leader {
		t.Errorf("the order is %v, want all three, and %s, which leads, last", order, leader)
	}
}

func TestADefragmentationDoesNotGoOnWithoutAMemberThatIsNotBack(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	care := careOf(t, proxy.Addr())
	proxy.BlackHole()
	for _, err := range care.Defrag(bounded(t), time.Second, true) {
		if err == nil {
			t.Error("a member that does not answer is defragmented")
		}
	}
}

func TestAMemberIsTakenOutAndInWithoutEverBreakingTheMajority(t *testing.T) {
	t.Parallel()
	cfgs := members(t)
	infos, stops := startAll(t, cfgs)
	care := careOf(t, infos[0].Endpoints[0], infos[1].Endpoints[0])
	register(t, dial(t, infos[0].GRPC, nil), "127.0.0.1:50051")
	wantRoster(t, care, "a", "b", "c")
	if err := stops[2](); err != nil {
		t.Fatal(err)
	}
	wantRoster(t, care, "a", "b", "c?")

	for _, err := range care.Defrag(bounded(t), timeout, false) {
		if _, ok := errors.AsType[*server.SilentError](err); !ok {
			t.Fatalf("with a member away a defragmentation says %v", err)
		}
		wantText(t, err, "member c does not answer", "connection refused", "--force")
	}
	_, err := care.Remove(bounded(t), "b", false)
	if _, ok := errors.AsType[*server.QuorumError](err); !ok {
		t.Fatalf("to take out one of two that are left says %v", err)
	}
	wantText(t, err, "without member b 1 of 2 with a vote would answer", "a majority, which is 2", "member c does not answer")
	if _, err := care.Remove(bounded(t), "nobody", false); !errors.Is(err, rollcall.ErrNotFound) {
		t.Errorf("to take out nobody says %v", err)
	}
	_, _, err = care.Add(bounded(t), cfgs[2].Cluster[2])
	wantText(t, err, "there is a member c already", "rollcall member remove c")
	if _, err := care.Remove(bounded(t), "c", false); err != nil {
		t.Fatal(err)
	}
	wantRoster(t, care, "a", "b")

	for range 2 { // the second time it is on its way in
		added, all, err := care.Add(bounded(t), cfgs[2].Cluster[2])
		if err != nil || !added.Learner || added.Name != "c" || len(all) != 3 {
			t.Fatalf("taken in is %+v of %d, %v", added, len(all), err)
		}
	}
	// A member that has not come yet is no reason to wait for it: the two that are there have their majority.
	if _, err := connect(t, infos[0]).Put(bounded(t), "key", "value"); err != nil {
		t.Fatal(err)
	}
	takeIn(t, care, cfgs[2])
	wantRoster(t, care, "a", "b", "c")
}

// takeIn starts a server that was taken in, and waits until it has a vote and serves.
func takeIn(t *testing.T, care *server.Care, cfg server.Config) {
	t.Helper()
	cfg.Join, cfg.DataDir = true, filepath.Join(t.TempDir(), "empty")
	all, _, err := care.Members(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(m server.ClusterMember) bool { return m.Learner })
	promoted := make(chan error, 1)
	ctx := bounded(t)
	go func() { promoted <- care.Promote(ctx, all[i].ID) }()
	info, _ := start(t, cfg)
	if err := <-promoted; err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, dial(t, info.GRPC, nil), "")
	wantGet(t, info.HTTP+"/v1/services/jie-test", 200, "127.0.0.1:50051")
}

func TestTheLastMemberIsNotTakenOutAndAServerThatIsAloneTakesNobodyIn(t *testing.T) {
	t.Parallel()
	info, _ := start(t, onFreePort(filepath.Join(t.TempDir(), "data")))
	care := careOf(t, info.Endpoints[0])
	_, err := care.Remove(bounded(t), "rollcall", true)
	if err == nil {
		t.Fatal("the only member is gone")
	}
	wantText(t, err, "the only one")
	_, _, err = care.Add(bounded(t), server.Member{Name: "b", PeerURL: "http://127.0.0.1:2380"})
	if err == nil {
		t.Fatal("a server without a peer listener has taken somebody in")
	}
	wantText(t, err, "alone", "--cluster")
	_, _, err = care.Add(bounded(t), server.Member{Name: "b", PeerURL: "http://10.0.0.1:2380"})
	if !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("a peer without certificates on another machine is %v", err)
	}
}

func TestWhoeverAnswersOfTheEndpointsIsAsked(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	proxy.BlackHole()
	care := careOf(t, "127.0.0.1:1", proxy.Addr(), etcd.Endpoint())
	b, err := care.BackupTo(bounded(t), io.Discard, quietly)
	if err != nil || b.Endpoint != etcd.Endpoint() {
		t.Errorf("the backup is from %s, %v; want the one that answers", b.Endpoint, err)
	}
	_, err = server.OpenCare(bounded(t), server.Config{Etcd: []string{"127.0.0.1:1"}}, carePatience)
	if !errors.Is(err, rollcall.ErrUnreachable) {
		t.Fatalf("when nobody answers the error is %v", err)
	}
	wantText(t, err, "127.0.0.1:1", "connection refused")
}

func TestABackupThatBreaksOffLeavesNothing(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	waste(t, etcd.Client(t))
	for name, c := range map[string]struct {
		breakOff func(*faultproxy.Proxy, context.CancelFunc)
		want     error
	}{
		"interrupted":    {func(_ *faultproxy.Proxy, interrupt context.CancelFunc) { interrupt() }, context.Canceled},
		"etcd goes away": {func(p *faultproxy.Proxy, _ context.CancelFunc) { p.Reset() }, nil},
		"silence":        {func(p *faultproxy.Proxy, _ context.CancelFunc) { p.BlackHole() }, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := faultproxy.Start(t, etcd.Endpoint())
			care, dir := careOf(t, proxy.Addr()), t.TempDir()
			ctx, interrupt := context.WithCancel(bounded(t))
			defer interrupt()
			once := false
			_, err := care.BackupFile(ctx, filepath.Join(dir, "backup"), false, func(int64, int64) {
				if !once {
					once = true
					c.breakOff(proxy, interrupt)
				}
			})
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("half a backup is %v", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}
