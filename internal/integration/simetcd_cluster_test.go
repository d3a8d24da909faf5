package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// clusterScenario is what three members show. It leaves them as it found them.
type clusterScenario struct {
	name string
	run  func(t *testing.T, w clusterWorld)
}

// A real cluster takes longer to start than to show most of this: several scenarios share one, one after another.
var clusterScenarios = [][]clusterScenario{{
	{"a follower's renewal waits for the leader that hangs while another one leads", renewalWaitsForOldLeader},
	{"a read that waits for an election fails with the change of leader", readAcrossElection},
	{"a renewal's header is of the member's own store", headerOfOwnStore},
	{"a leader alone renews until it finds out, then knows of no leader", leaderAlone},
}, {
	{"every member renews", everyMemberRenews},
	{"a cluster that hangs as one keeps its leader and extends no lease", clusterHangsAsOne},
	{"members that wake up without a leader wait an election before they elect one", followersHang},
	{"a member alone answers old reads, is silent, and says so to whom requires a leader", memberAlone},
	{"a leader that is killed costs no lease, two that are killed cost the leader", losesItsMembers}, // for good
}}

func TestTheFakeClusterBehavesLikeACluster(t *testing.T) {
	t.Parallel()
	for i, scenarios := range clusterScenarios {
		for _, s := range scenarios {
			t.Run("fake/"+s.name, func(t *testing.T) {
				simulate(t, 3, func(t *testing.T, w *simulated) { s.run(t, simulatedCluster{w}) })
			})
		}
		t.Run(fmt.Sprint("etcd/", i), func(t *testing.T) {
			t.Parallel()
			w := startProcesses(t)
			for _, s := range scenarios {
				if !t.Run(s.name, func(t *testing.T) { s.run(t, w) }) {
					return
				}
			}
		})
	}
}

// unanswered fails when a renewal has been answered, by whatever.
func unanswered(t *testing.T, answer <-chan error) {
	t.Helper()
	select {
	case err := <-answer:
		t.Errorf("a renewal was answered: %v", err)
	default:
	}
}

// mustTimeOut has a member put a key, for a second at most: it must not come to that. Whose clock is the first to say so,
// the client's or etcd's, is chance.
func mustTimeOut(t *testing.T, c *clientv3.Client, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Put(ctx, key, ""); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(fmt.Sprint(err), "request timed out") {
		t.Errorf("a put: %v, want a timeout", err)
	}
}

// restored waits until a member says that a lease has at least so many seconds left after a moment, less those since.
func restored(t *testing.T, c *clientv3.Client, id clientv3.LeaseID, ttl int, since time.Time) {
	t.Helper()
	eventually(t, 15*time.Second, "a new leader and full leases", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := c.TimeToLive(ctx, id)
		return err == nil && float64(resp.TTL) > float64(ttl)-time.Since(since).Seconds()
	})
}

// A member that is behind answers for itself before it asks anybody.
func headerOfOwnStore(t *testing.T, w clusterWorld) {
	leader := w.Leader(t)
	behind, ahead := (leader+1)%3, w.Client(t, leader)
	c := w.Client(t, behind)
	id := leased(t, c, 60)
	stream := must[pb.Lease_LeaseKeepAliveClient](t)(pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(within(t, time.Minute)))
	renewal := &pb.LeaseKeepAliveRequest{ID: int64(id)}
	must[struct{}](t)(struct{}{}, stream.Send(renewal))
	must[*pb.LeaseKeepAliveResponse](t)(stream.Recv())
	w.Behind(t, behind)
	var wg sync.WaitGroup
	for n := range 20 { // so much that it cannot be caught up with before the answer
		wg.Go(func() {
			for i := range 50 {
				if _, err := ahead.Put(within(t, 10*time.Second), fmt.Sprint("ahead/", n, "/", i), ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	latest := head(t, ahead)
	must[struct{}](t)(struct{}{}, stream.Send(renewal))
	w.Answer(t, behind)
	resp := must[*pb.LeaseKeepAliveResponse](t)(stream.Recv())
	mustEqual(t, "TTL renewed", resp.TTL, 60)
	if resp.Header.Revision >= latest {
		t.Errorf("revision %d in the header, the leader was at %d already", resp.Header.Revision, latest)
	}
	w.Rejoin(t, behind)
	mustEqual(t, "a linearizable read by the same member", head(t, c) >= latest, true)
}

func everyMemberRenews(t *testing.T, w clusterWorld) {
	c := w.Client(t, -1)
	id := leased(t, c, 30)
	rev := head(t, c)
	mustEqual(t, "members", len(must[*clientv3.MemberListResponse](t)(c.MemberList(bounded(t))).Members), 3)
	seen := map[uint64]bool{}
	for i := range 3 { // whether it leads or not
		one := w.Client(t, i)
		mustEqual(t, "TTL renewed", must[*clientv3.LeaseKeepAliveResponse](t)(one.KeepAliveOnce(bounded(t), id)).TTL, 30)
		header := must[*clientv3.GetResponse](t)(one.Get(bounded(t), "k")).Header
		seen[header.MemberId] = true
		mustEqual(t, "cluster in the header", header.ClusterId != 0 && header.Revision == rev, true)
	}
	mustEqual(t, "member ids", len(seen), 3)
}

// termOf returns the term that a linearizable read tells.
func termOf(t *testing.T, c *clientv3.Client) uint64 {
	t.Helper()
	return must[*clientv3.GetResponse](t)(c.Get(bounded(t), "k")).Header.RaftTerm
}

func memberAlone(t *testing.T, w clusterWorld) {
	alone := (w.Leader(t) + 1) % 3
	c := w.Client(t, alone)
	id := leased(t, c, 60)
	requiring, indifferent := openWatch(t, c, true), openWatch(t, c, false)
	requiring.created(all("k", head(t, c)+1))
	indifferent.created(all("k", head(t, c)+1))
	w.Alone(t, alone)
	lost, renewed := time.Now(), renew(t, c, id)
	mustFail(t, "the watch that requires a leader", requiring.end(10*time.Second), rpctypes.ErrNoLeader)
	if took := time.Since(lost); took < 3*time.Second {
		t.Errorf("it ended after %v, before three elections", took)
	}
	again := openWatch(t, c, true)
	mustFail(t, "another one", again.end(time.Second), rpctypes.ErrNoLeader)
	unanswered(t, renewed)
	must[*clientv3.GetResponse](t)(c.Get(bounded(t), "k", clientv3.WithSerializable()))
	mustTimeOut(t, c, "elsewhere")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := pb.NewKVClient(c.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte("k")})
	mustEqual(t, "a linearizable read waits", status.Code(err), codes.DeadlineExceeded)
	indifferent.quiet(w, 0, "a watch that requires no leader")
	w.Rejoin(t, alone)
	put(t, w.Client(t, -1), "k", "new")
	mustEqual(t, "it goes on", told(indifferent.next("a put")), "0 put k=new")
}

func leaderAlone(t *testing.T, w clusterWorld) {
	leader := w.Leader(t)
	c := w.Client(t, leader)
	id := leased(t, c, 60)
	w.Alone(t, leader)
	if err := receiveWithin(t, 900*time.Millisecond, "an answer at once", renew(t, c, id)); err != nil {
		t.Errorf("renewal by a leader that believes that it leads: %v", err)
	}
	mustTimeOut(t, c, "k")
	w.Pass(2 * time.Second)
	asked := time.Now()
	mustFail(t, "renewal", receiveWithin(t, 15*time.Second, "an answer", renew(t, c, id)), rpctypes.ErrNoLeader)
	if took := time.Since(asked); took < 6500*time.Millisecond || took > 12*time.Second {
		t.Errorf("the renewal was given up after %v, want 7 s", took)
	}
	w.Rejoin(t, leader)
	eventually(t, 10*time.Second, "a renewal", func() bool { return <-renew(t, c, id) == nil })
}

// losesItsMembers kills the leader of three members, and then the next leader: the first loss gives leases their full
// time, the second takes the leader away for good.
func losesItsMembers(t *testing.T, w clusterWorld) {
	c := w.Client(t, -1)
	id, other := leased(t, c, 30), must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 30)).ID
	granted := time.Now()
	before := termOf(t, c)
	w.Pass(2 * time.Second)
	first := w.Leader(t)
	w.Kill(t, first)
	left := w.Client(t, (first+1)%3)
	answer := renew(t, left, other)
	restored(t, w.Client(t, (first+2)%3), id, 31, granted)
	if err := receiveWithin(t, 5*time.Second, "an answer", answer); err != nil {
		t.Errorf("a renewal that asked a leader who is no more: %v", err)
	}
	after := must[*clientv3.GetResponse](t)(left.Get(bounded(t), "k"))
	mustEqual(t, "a later term and the same key", after.Header.RaftTerm > before && len(after.Kvs) == 1, true)
	second := w.Leader(t)
	last := w.Client(t, 3-first-second)
	w.Kill(t, second)
	eventually(t, 10*time.Second, "no leader", func() bool { return rpctypes.Error(openWatch(t, last, true).end(time.Second)) == rpctypes.ErrNoLeader })
	must[*clientv3.GetResponse](t)(last.Get(bounded(t), "k", clientv3.WithSerializable()))
}
