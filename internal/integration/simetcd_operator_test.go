package integration

import (
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// What operators and disasters do to an etcd that is in use.
var operatorScenarios = []scenario{
	{name: "an operator's changes are events like others", run: operatorChanges},
	{name: "a permission that is taken away ends no watch and opens none", run: permissionTaken, own: true},
	{name: "tokens that die leave streams alone and open none", run: tokensDie, own: true},
	{name: "a wiped store has the same cluster id and an earlier revision and term", run: wipedStore, own: true},
	{name: "a restored store has the same cluster id and an earlier revision and term", run: restoredStore, own: true},
	{name: "a watch from before a restore is silent until the store has caught up", run: watchAcrossRestore, own: true},
}

func operatorChanges(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	first := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	second := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	s := openWatch(t, c, false)
	r := all(prefix, head(t, c)+1)
	r.PrevKv = true
	s.created(r)
	mustEqual(t, "put under a lease", w.PutKey(t, prefix+"k", "1", first), nil)
	mustEqual(t, "event", told(s.next("a put")), "0 put k=1")
	mustEqual(t, "put under another", w.PutKey(t, prefix+"k", "2", second), nil)
	mustEqual(t, "event", told(s.next("a put")), "0 put k=2 was 1")
	mustFail(t, "put under none that lives", w.PutKey(t, prefix+"k", "3", 4714), rpctypes.ErrLeaseNotFound)
	mustEqual(t, "revocation of the first", w.RevokeLease(t, first), nil) // the key has moved
	mustFail(t, "revocation of it again", w.RevokeLease(t, first), rpctypes.ErrLeaseNotFound)
	put(t, c, prefix+"other", "")
	mustEqual(t, "next event", told(s.next("a put")), "0 put other=")
	mustEqual(t, "revocation of the second", w.RevokeLease(t, second), nil)
	mustEqual(t, "event", told(s.next("a deletion")), "0 delete k was 2")
	mustEqual(t, "deletion of a key", w.DeleteKey(t, prefix+"other"), true)
	mustEqual(t, "event", told(s.next("a deletion")), "0 delete other was ")
	mustEqual(t, "deletion of none", w.DeleteKey(t, prefix+"other"), false)
}

func permissionTaken(t *testing.T, w world, prefix string) {
	admin, user := guarded(t, w, prefix)
	s := openWatch(t, user, false)
	s.created(all(prefix, 0))
	id := must[*clientv3.LeaseGrantResponse](t)(user.Grant(bounded(t), 60)).ID
	must[*clientv3.PutResponse](t)(user.Put(bounded(t), prefix+"k", "1", clientv3.WithLease(id)))
	mustEqual(t, "event", told(s.next("a put")), "0 put k=1")
	w.SetPermission(t, "member", "/elsewhere/")
	_, err := user.Get(bounded(t), prefix+"k")
	mustFail(t, "a read", err, rpctypes.ErrPermissionDenied)
	_, err = user.Put(bounded(t), prefix+"k", "2")
	mustFail(t, "a write", err, rpctypes.ErrPermissionDenied)
	_, err = user.KeepAliveOnce(bounded(t), id)
	mustFail(t, "a renewal", err, rpctypes.ErrPermissionDenied)
	put(t, user, "/elsewhere/k", "")
	put(t, admin, prefix+"k", "3")
	mustEqual(t, "the open watch goes on", told(s.next("a put")), "0 put k=3")
	resp := s.created(all(prefix, 0))
	mustEqual(t, "a new watch", [3]any{resp.Created, resp.Canceled, resp.CancelReason}, [3]any{true, true, rpctypes.ErrGRPCPermissionDenied.Error()})
	w.SetPermission(t, "member", prefix)
	mustEqual(t, "a new watch with permission", told(s.created(all(prefix, 0))), "1 created")
	must[*clientv3.GetResponse](t)(user.Get(bounded(t), prefix+"k"))
}

func tokensDie(t *testing.T, w world, prefix string) {
	admin, user := guarded(t, w, prefix)
	id := must[*clientv3.LeaseGrantResponse](t)(user.Grant(bounded(t), 60)).ID
	ctx, conn := withToken(t, w), w.Client(t, -1).ActiveConnection()
	renewals := must[pb.Lease_LeaseKeepAliveClient](t)(pb.NewLeaseClient(conn).LeaseKeepAlive(ctx))
	renewal := func() *pb.LeaseKeepAliveResponse {
		t.Helper()
		if err := renewals.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
			t.Fatal(err)
		}
		return must[*pb.LeaseKeepAliveResponse](t)(renewals.Recv())
	}
	mustEqual(t, "TTL renewed", renewal().TTL, 60)
	w.ExpireTokens(t)
	_, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(prefix)})
	mustFail(t, "a read with the token", err, rpctypes.ErrInvalidAuthToken)
	put(t, user, prefix+"k", "1") // the client gets a new token
	put(t, admin, prefix+"k", "2")
	mustEqual(t, "TTL renewed", must[*clientv3.LeaseKeepAliveResponse](t)(user.KeepAliveOnce(bounded(t), id)).TTL, 60)
	if err := renewals.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		t.Fatal(err)
	}
	_, err = renewals.Recv()
	mustFail(t, "a renewal on the old stream", err, rpctypes.ErrInvalidAuthToken)
}

// identity is what a header says of the store behind it.
func identity(t *testing.T, w world) *pb.ResponseHeader {
	t.Helper()
	c := w.Client(t, -1)
	var header *pb.ResponseHeader
	eventually(t, 20*time.Second, "an answer", func() bool {
		resp, err := c.Get(bounded(t), "head")
		if err == nil {
			header = resp.Header
		}
		return err == nil
	})
	return header
}

// mustBeEarlier fails unless one header is of an earlier state of what seems to be the same cluster.
func mustBeEarlier(t *testing.T, now, before *pb.ResponseHeader) {
	t.Helper()
	if now.ClusterId != before.ClusterId || now.Revision >= before.Revision || now.RaftTerm >= before.RaftTerm {
		t.Errorf("header %v after %v, want an earlier state of the same cluster", now, before)
	}
}

func wipedStore(t *testing.T, w world, prefix string) {
	id := must[*clientv3.LeaseGrantResponse](t)(w.Client(t, -1).Grant(bounded(t), 60)).ID
	putMany(t, w.Client(t, -1), prefix, 5, "v")
	w.Restart(t) // for a later term
	before := identity(t, w)
	w.Wipe(t)
	now := identity(t, w)
	mustBeEarlier(t, now, before)
	c := w.Client(t, -1)
	mustEqual(t, "revision and keys", [2]int64{now.Revision, int64(len(keys(t, c, "/")))}, [2]int64{1, 0})
	_, err := c.KeepAliveOnce(bounded(t), id)
	mustFail(t, "renewal of a lease of before", err, rpctypes.ErrLeaseNotFound)
}

func restoredStore(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"leased", "", clientv3.WithLease(id)))
	restore := w.Backup(t)
	identity(t, w)
	late := must[*clientv3.LeaseGrantResponse](t)(w.Client(t, -1).Grant(bounded(t), 60)).ID
	putMany(t, w.Client(t, -1), prefix, 5, "late")
	w.Restart(t)
	before := identity(t, w)
	restore()
	mustBeEarlier(t, identity(t, w), before)
	c = w.Client(t, -1)
	mustEqual(t, "keys", len(keys(t, c, prefix)), 1)
	mustEqual(t, "TTL renewed of a lease that was saved", must[*clientv3.LeaseKeepAliveResponse](t)(c.KeepAliveOnce(bounded(t), id)).TTL, 60)
	_, err := c.KeepAliveOnce(bounded(t), late)
	mustFail(t, "renewal of a later lease", err, rpctypes.ErrLeaseNotFound)
}

func watchAcrossRestore(t *testing.T, w world, prefix string) {
	restore := w.Backup(t)
	identity(t, w)
	putMany(t, w.Client(t, -1), prefix, 3, "late")
	before := identity(t, w)
	restore()
	now := identity(t, w)
	c := w.Client(t, -1)
	s := openWatch(t, c, true)
	r := all(prefix, before.Revision+1) // where a client goes on that knows of nothing
	r.ProgressNotify = true
	mustEqual(t, "revision of the creation", s.created(r).Header.Revision, now.Revision)
	putMany(t, c, prefix, int(before.Revision-now.Revision), "unseen")
	s.quiet(w, 3*worldProgress, "a watch of the past that seems to be the future")
	put(t, c, prefix+"k", "seen")
	mustEqual(t, "as if nothing had happened", told(s.next("an event")), "0 put k=seen")
}
