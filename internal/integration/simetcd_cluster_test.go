package integration

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// One cluster of three real members shows all of it: starting another takes longer than the test.
func TestTheFakeClusterBehavesLikeACluster(t *testing.T) {
	t.Parallel()
	t.Run("fake", func(t *testing.T) {
		simulate(t, 3, func(t *testing.T, w *simulated) { losesItsMembers(t, w) })
	})
	t.Run("etcd", func(t *testing.T) { losesItsMembers(t, startReal(t, 3)) })
}

// losesItsMembers kills the leader of three members, and then the next leader: the first loss gives leases their full
// time, the second takes the leader away for good.
func losesItsMembers(t *testing.T, w world) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 30)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), "k", "1", clientv3.WithLease(id)))
	members := must[*clientv3.MemberListResponse](t)(c.MemberList(bounded(t))).Members
	mustEqual(t, "members", len(members), 3)
	seen := map[uint64]bool{}
	for i := range 3 { // whether it leads or not, a member renews
		one := w.Client(t, i)
		mustEqual(t, "TTL renewed", must[*clientv3.LeaseKeepAliveResponse](t)(one.KeepAliveOnce(bounded(t), id)).TTL, 30)
		header := must[*clientv3.GetResponse](t)(one.Get(bounded(t), "k")).Header
		seen[header.MemberId] = true
		mustEqual(t, "cluster in the header", header.ClusterId != 0 && header.Revision == 2, true)
	}
	mustEqual(t, "member ids", len(seen), 3)
	renewed := time.Now()
	before := must[*clientv3.GetResponse](t)(c.Get(bounded(t), "k")).Header.RaftTerm

	w.Pass(3 * time.Second)
	first := w.KillLeader(t)
	left := w.Client(t, (first+1)%3)
	eventually(t, 15*time.Second, "a new leader and full leases", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := left.TimeToLive(ctx, id)
		return err == nil && float64(resp.TTL) > 31-time.Since(renewed).Seconds() // without the election at most 30
	})
	after := must[*clientv3.GetResponse](t)(left.Get(bounded(t), "k"))
	mustEqual(t, "a later term and the same key", after.Header.RaftTerm > before && len(after.Kvs) == 1, true)

	second := w.KillLeader(t)
	last := w.Client(t, 3-first-second)
	eventually(t, 10*time.Second, "no leader", func() bool {
		ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(t.Context()), time.Second)
		defer cancel()
		stream, err := pb.NewWatchClient(last.ActiveConnection()).Watch(ctx)
		if err == nil {
			_, err = stream.Recv()
		}
		return rpctypes.Error(err) == rpctypes.ErrNoLeader
	})
	must[*clientv3.GetResponse](t)(last.Get(bounded(t), "k", clientv3.WithSerializable()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := pb.NewKVClient(last.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte("k")})
	mustEqual(t, "a linearizable read waits", status.Code(err), codes.DeadlineExceeded)
}
