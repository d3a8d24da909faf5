package integration

import (
	"fmt"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var leaseScenarios = []scenario{
	{name: "no lease is shorter than 2 s", run: minimumTTL},
	{name: "a client may choose a lease's id", run: chosenLeaseID},
	{name: "a put replaces a key's lease", run: putReplacesLease},
	{name: "a put under a dead lease is refused and changes nothing", run: putUnderDeadLease},
	{name: "the revocation of a lease is one revision", run: revokeIsOneRevision},
	{name: "the renewal of an unknown lease has no TTL", run: renewalOfUnknownLease},
	{name: "a lease expires within a tick of its TTL", run: leaseExpires, own: true},
	{name: "the renewal of an expired lease waits until its keys are gone", run: renewalOfExpiredLease, own: true},
	{name: "a renewal that waits has the header of the moment it came", run: headerOfRenewal, own: true},
	{name: "a restart gives every lease its full TTL and an election", run: restartRefreshesLeases, own: true},
	{name: "one keepalive stream renews many leases in order", run: keepAliveStream},
}

func minimumTTL(t *testing.T, w world, _ string) {
	c := w.Client(t, -1)
	mustEqual(t, "TTL granted for 1", must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 1)).TTL, 2)
	mustEqual(t, "TTL granted for 5", must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 5)).TTL, 5)
	_, err := c.Grant(bounded(t), 9_000_000_001)
	mustFail(t, "a TTL that is too large", err, rpctypes.ErrLeaseTTLTooLarge)
}

func chosenLeaseID(t *testing.T, w world, _ string) {
	c := w.Client(t, -1)
	raw := pb.NewLeaseClient(c.ActiveConnection())
	before := must[*clientv3.GetResponse](t)(c.Get(bounded(t), "k")).Header.Revision
	granted := must[*pb.LeaseGrantResponse](t)(raw.LeaseGrant(bounded(t), &pb.LeaseGrantRequest{ID: 4712, TTL: 60}))
	mustEqual(t, "id", granted.ID, 4712)
	mustEqual(t, "revision: a grant is none", granted.Header.Revision, before)
	_, err := raw.LeaseGrant(bounded(t), &pb.LeaseGrantRequest{ID: 4712, TTL: 60})
	mustFail(t, "the same id again", err, rpctypes.ErrLeaseExist)
	ids := map[clientv3.LeaseID]bool{}
	for _, l := range must[*clientv3.LeaseLeasesResponse](t)(c.Leases(bounded(t))).Leases {
		ids[l.ID] = true
	}
	mustEqual(t, "listed", ids[4712], true)
	must[*clientv3.LeaseRevokeResponse](t)(c.Revoke(bounded(t), 4712))
	_, err = c.Revoke(bounded(t), 4712)
	mustFail(t, "revoking twice", err, rpctypes.ErrLeaseNotFound)
}

func putUnderDeadLease(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	put(t, c, prefix+"k", "1")
	must[*clientv3.LeaseRevokeResponse](t)(c.Revoke(bounded(t), id))
	rev := head(t, c)
	_, err := c.Put(bounded(t), prefix+"k", "2", clientv3.WithLease(id))
	mustFail(t, "a put", err, rpctypes.ErrLeaseNotFound)
	_, err = c.Txn(bounded(t)).Then(clientv3.OpPut(prefix+"l", ""), clientv3.OpPut(prefix+"k", "2", clientv3.WithLease(id))).Commit()
	mustFail(t, "a transaction", err, rpctypes.ErrLeaseNotFound)
	_, err = c.Txn(bounded(t)).If(clientv3.Compare(clientv3.Version(prefix+"k"), "=", 0)).
		Then(clientv3.OpPut(prefix+"k", "2", clientv3.WithLease(id))).Commit()
	mustFail(t, "a branch that is not taken", err, nil)
	mustEqual(t, "keys and revision", fmt.Sprint(keys(t, c, prefix), head(t, c)), fmt.Sprint(map[string]string{prefix + "k": "1"}, rev))
}

func putReplacesLease(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	old := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	fresh := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "", clientv3.WithLease(old)))
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "", clientv3.WithLease(fresh)))
	must[*clientv3.LeaseRevokeResponse](t)(c.Revoke(bounded(t), old))
	mustEqual(t, "keys after the old lease", len(keys(t, c, prefix)), 1)
	live := must[*clientv3.LeaseTimeToLiveResponse](t)(c.TimeToLive(bounded(t), fresh, clientv3.WithAttachedKeys()))
	mustEqual(t, "key of the new one", string(live.Keys[0]), prefix+"k")
	mustEqual(t, "granted TTL", live.GrantedTTL, 60)
	must[*clientv3.LeaseRevokeResponse](t)(c.Revoke(bounded(t), fresh))
	mustEqual(t, "keys after the new one", len(keys(t, c, prefix)), 0)
}

func revokeIsOneRevision(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	for _, key := range []string{"c", "a", "b"} {
		must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+key, "", clientv3.WithLease(id)))
	}
	head := must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix)).Header.Revision
	s := openWatch(t, c, false)
	s.created(all(prefix, head+1))
	revoked := must[*clientv3.LeaseRevokeResponse](t)(c.Revoke(bounded(t), id))
	mustEqual(t, "revision", revoked.Header.Revision, head+1)
	resp := s.next("deletions")
	var kvs []*mvccpb.KeyValue
	for _, e := range resp.Events {
		mustEqual(t, "event", [2]any{e.Type, e.Kv.ModRevision}, [2]any{clientv3.EventTypeDelete, head + 1})
		kvs = append(kvs, e.Kv)
	}
	mustEqual(t, "deleted, in one response", names(kvs, prefix), "a b c")
	id = must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	revoked = must[*clientv3.LeaseRevokeResponse](t)(c.Revoke(bounded(t), id))
	mustEqual(t, "revision of a revocation without keys", revoked.Header.Revision, head+1)
}

func renewalOfUnknownLease(t *testing.T, w world, _ string) {
	c := w.Client(t, -1)
	stream := must[pb.Lease_LeaseKeepAliveClient](t)(pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(bounded(t)))
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: 4713}); err != nil {
		t.Fatal(err)
	}
	resp := must[*pb.LeaseKeepAliveResponse](t)(stream.Recv())
	mustEqual(t, "TTL and id", [2]int64{resp.TTL, resp.ID}, [2]int64{0, 4713})
	mustEqual(t, "time to live", must[*clientv3.LeaseTimeToLiveResponse](t)(c.TimeToLive(bounded(t), 4713)).TTL, -1)
	_, err := c.KeepAliveOnce(bounded(t), 4713)
	mustFail(t, "renewal by the client", err, rpctypes.ErrLeaseNotFound)
}

func leaseExpires(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 2)).ID
	began := time.Now()
	put := must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "", clientv3.WithLease(id)))
	s := openWatch(t, c, false)
	s.created(all(prefix, put.Header.Revision+1))
	mustEqual(t, "event", told(s.next("expiry")), "0 delete k")
	if lived := time.Since(began); lived < 1900*time.Millisecond {
		t.Errorf("a lease of 2 s lived %v", lived)
	} else if _, fake := w.(*simulated); fake && lived > 2500*time.Millisecond {
		t.Errorf("a lease of 2 s lived %v in an idle cluster", lived)
	}
}

// The leader revokes expired leases twice a second, and a renewal in between must not answer for a lease that is about
// to go: it waits.
func renewalOfExpiredLease(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	stream := must[pb.Lease_LeaseKeepAliveClient](t)(pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(bounded(t)))
	w.Pass(330 * time.Millisecond) // out of step with the leader
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 2)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "", clientv3.WithLease(id)))
	w.Pass(2010 * time.Millisecond)
	asked := time.Now()
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		t.Fatal(err)
	}
	resp := must[*pb.LeaseKeepAliveResponse](t)(stream.Recv())
	mustEqual(t, "TTL", resp.TTL, 0)
	mustEqual(t, "keys when the renewal is answered", len(keys(t, c, prefix)), 0)
	if _, fake := w.(*simulated); fake && time.Since(asked) < 100*time.Millisecond {
		t.Errorf("the renewal was answered after %v, before the next tick", time.Since(asked))
	}
}

// The header is filled before the lease is renewed: it proves nothing of what happened since.
func headerOfRenewal(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	stream := must[pb.Lease_LeaseKeepAliveClient](t)(pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(bounded(t)))
	w.Pass(330 * time.Millisecond) // out of step with the leader
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 2)).ID
	rev := must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "", clientv3.WithLease(id))).Header.Revision
	w.Pass(2010 * time.Millisecond)
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		t.Fatal(err)
	}
	resp := must[*pb.LeaseKeepAliveResponse](t)(stream.Recv())
	mustEqual(t, "revisions: of the answer, of the revocation before it", [2]int64{resp.Header.Revision, head(t, c)}, [2]int64{rev, rev + 1})
}

func restartRefreshesLeases(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 20)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "", clientv3.WithLease(id)))
	w.Pass(2 * time.Second)
	left := must[*clientv3.LeaseTimeToLiveResponse](t)(c.TimeToLive(bounded(t), id)).TTL
	if left > 18 {
		t.Errorf("%d s left of 20 after 2", left)
	}
	w.Restart(t)
	eventually(t, 10*time.Second, "a full lease again", func() bool {
		resp, err := c.TimeToLive(bounded(t), id)
		return err == nil && resp.TTL >= 20 // and up to 21: less a moment
	})
	mustEqual(t, "keys after the restart", len(keys(t, c, prefix)), 1)
	renewed := must[*clientv3.LeaseKeepAliveResponse](t)(c.KeepAliveOnce(bounded(t), id))
	mustEqual(t, "TTL renewed", renewed.TTL, 20)
	if left := must[*clientv3.LeaseTimeToLiveResponse](t)(c.TimeToLive(bounded(t), id)).TTL; left > 20 {
		t.Errorf("%d s left of 20 after a renewal", left)
	}
}

func keepAliveStream(t *testing.T, w world, _ string) {
	c := w.Client(t, -1)
	stream := must[pb.Lease_LeaseKeepAliveClient](t)(pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(bounded(t)))
	var ids []int64
	for range 20 {
		ids = append(ids, int64(must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID))
	}
	for _, id := range ids {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		resp := must[*pb.LeaseKeepAliveResponse](t)(stream.Recv())
		mustEqual(t, "id and TTL", [2]int64{resp.ID, resp.TTL}, [2]int64{id, 60})
		if resp.Header.ClusterId == 0 || resp.Header.MemberId == 0 || resp.Header.RaftTerm == 0 || resp.Header.Revision == 0 {
			t.Errorf("header %v", resp.Header)
		}
	}
}
