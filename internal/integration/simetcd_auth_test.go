package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

var authScenarios = []scenario{
	{name: "auth wants a root user with the root role", run: authWantsRoot, own: true},
	{name: "a role is limited to its ranges", run: roleIsLimited, own: true},
	{name: "one key without permission stops the renewal of its lease", run: onePermissionStopsRenewal, own: true},
	{name: "a token dies of disuse and clients get a new one", run: tokenDies, own: true},
	{name: "a watch stream keeps the token it was opened with", run: watchStreamKeepsToken, own: true},
	{name: "a restart drops all tokens", run: restartDropsTokens, own: true},
}

func authWantsRoot(t *testing.T, w world, _ string) {
	c := w.Client(t, -1)
	_, err := c.Authenticate(bounded(t), "root", "secret")
	mustFail(t, "authentication without auth", err, rpctypes.ErrAuthNotEnabled)
	_, err = c.AuthEnable(bounded(t))
	mustFail(t, "auth without root", err, rpctypes.ErrRootUserNotExist)
	must[*clientv3.AuthUserAddResponse](t)(c.UserAdd(bounded(t), "root", "secret"))
	_, err = c.UserAdd(bounded(t), "root", "secret")
	mustFail(t, "the same user again", err, rpctypes.ErrUserAlreadyExist)
	_, err = c.AuthEnable(bounded(t))
	mustFail(t, "auth without the root role", err, rpctypes.ErrRootRoleNotExist)
	_, err = c.UserGrantRole(bounded(t), "root", "nonsense")
	mustFail(t, "an unknown role", err, rpctypes.ErrRoleNotFound)
	_, err = c.RoleRevokePermission(bounded(t), "nonsense", "a", "b")
	mustFail(t, "an unknown role", err, rpctypes.ErrRoleNotFound)
}

// guarded switches auth on and returns a client of root and one of a user who may read and write the prefix.
func guarded(t *testing.T, w world, prefix string) (admin, user *clientv3.Client) {
	t.Helper()
	c := w.Client(t, -1)
	ctx, end := bounded(t), clientv3.GetPrefixRangeEnd(prefix)
	must[*clientv3.AuthUserAddResponse](t)(c.UserAdd(ctx, "root", "secret"))
	must[*clientv3.AuthRoleAddResponse](t)(c.RoleAdd(ctx, "root"))
	must[*clientv3.AuthUserGrantRoleResponse](t)(c.UserGrantRole(ctx, "root", "root"))
	must[*clientv3.AuthUserAddResponse](t)(c.UserAdd(ctx, "jie", "sesame"))
	must[*clientv3.AuthRoleAddResponse](t)(c.RoleAdd(ctx, "member"))
	must[*clientv3.AuthRoleGrantPermissionResponse](t)(c.RoleGrantPermission(ctx, "member", prefix, end, clientv3.PermissionType(authpb.READWRITE)))
	must[*clientv3.AuthUserGrantRoleResponse](t)(c.UserGrantRole(ctx, "jie", "member"))
	must[*clientv3.AuthEnableResponse](t)(c.AuthEnable(ctx))
	return w.Client(t, -1, "root", "secret"), w.Client(t, -1, "jie", "sesame")
}

func roleIsLimited(t *testing.T, w world, prefix string) {
	admin, user := guarded(t, w, prefix)
	nobody := w.Client(t, -1)
	_, err := nobody.Get(bounded(t), prefix)
	mustFail(t, "nobody's read", err, rpctypes.ErrUserEmpty)
	_, err = nobody.Put(bounded(t), prefix, "")
	mustFail(t, "nobody's write", err, rpctypes.ErrUserEmpty)
	_, err = nobody.Grant(bounded(t), 60)
	mustFail(t, "nobody's lease", err, rpctypes.ErrUserEmpty)
	_, err = nobody.Authenticate(bounded(t), "jie", "wrong")
	mustFail(t, "a wrong password", err, rpctypes.ErrAuthFailed)
	_, err = nobody.Authenticate(bounded(t), "stranger", "sesame")
	mustFail(t, "an unknown user", err, rpctypes.ErrAuthFailed)

	put(t, user, prefix+"k", "1")
	must[*clientv3.GetResponse](t)(user.Get(bounded(t), prefix, clientv3.WithPrefix()))
	_, err = user.Get(bounded(t), "/", clientv3.WithPrefix())
	mustFail(t, "a wider read", err, rpctypes.ErrPermissionDenied)
	_, err = user.Put(bounded(t), "/elsewhere", "")
	mustFail(t, "a write elsewhere", err, rpctypes.ErrPermissionDenied)
	_, err = user.Txn(bounded(t)).If(clientv3.Compare(clientv3.Version("/elsewhere"), "=", 0)).Commit()
	mustFail(t, "a comparison elsewhere", err, rpctypes.ErrPermissionDenied)
	_, err = user.Txn(bounded(t)).Then(clientv3.OpGet(prefix)).Else(clientv3.OpDelete("/elsewhere")).Commit()
	mustFail(t, "a deletion elsewhere that would not happen", err, rpctypes.ErrPermissionDenied)
	_, err = user.Compact(bounded(t), 1)
	mustFail(t, "a compaction", err, rpctypes.ErrPermissionDenied)
	_, err = user.UserList(bounded(t))
	mustFail(t, "a list of users", err, rpctypes.ErrPermissionDenied)

	s := openWatch(t, w.Client(t, -1), false) // without a token
	resp := s.created(all(prefix, 0))
	mustEqual(t, "nobody's watch", [2]any{resp.Canceled, resp.WatchId}, [2]any{true, int64(-1)})
	if !strings.Contains(resp.CancelReason, "user name is empty") {
		t.Errorf("nobody's watch: %s", resp.CancelReason)
	}
	resp = openWatch(t, user, false).created(all("/", 0))
	mustEqual(t, "a wider watch", [2]any{resp.Canceled, resp.CancelReason}, [2]any{true, rpctypes.ErrGRPCPermissionDenied.Error()})
	must[*clientv3.GetResponse](t)(admin.Get(bounded(t), "/", clientv3.WithPrefix()))
}

func onePermissionStopsRenewal(t *testing.T, w world, prefix string) {
	admin, user := guarded(t, w, prefix)
	must[*clientv3.AuthRoleGrantPermissionResponse](t)(admin.RoleGrantPermission(bounded(t), "member", "/extra", "", clientv3.PermissionType(authpb.READWRITE)))
	id := must[*clientv3.LeaseGrantResponse](t)(user.Grant(bounded(t), 60)).ID
	must[*clientv3.PutResponse](t)(user.Put(bounded(t), prefix+"k", "", clientv3.WithLease(id)))
	must[*clientv3.PutResponse](t)(user.Put(bounded(t), "/extra", "", clientv3.WithLease(id)))
	must[*clientv3.LeaseKeepAliveResponse](t)(user.KeepAliveOnce(bounded(t), id))
	must[*clientv3.AuthRoleRevokePermissionResponse](t)(admin.RoleRevokePermission(bounded(t), "member", "/extra", ""))
	_, err := user.KeepAliveOnce(bounded(t), id)
	mustFail(t, "renewal", err, rpctypes.ErrPermissionDenied)
	_, err = user.Revoke(bounded(t), id)
	mustFail(t, "revocation", err, rpctypes.ErrPermissionDenied)
	_, err = user.Put(bounded(t), prefix+"k", "", clientv3.WithLease(id))
	mustFail(t, "a put under the lease", err, rpctypes.ErrPermissionDenied)
	must[*clientv3.PutResponse](t)(user.Put(bounded(t), prefix+"k", "")) // takes the key off the lease
	must[*clientv3.LeaseKeepAliveResponse](t)(admin.KeepAliveOnce(bounded(t), id))
}

// withToken returns a context that carries a token of jie's which no client looks after.
func withToken(t *testing.T, w world) context.Context {
	t.Helper()
	resp := must[*clientv3.AuthenticateResponse](t)(w.Client(t, -1).Authenticate(bounded(t), "jie", "sesame"))
	return metadata.AppendToOutgoingContext(within(t, 20*time.Second), rpctypes.TokenFieldNameGRPC, resp.Token)
}

func tokenDies(t *testing.T, w world, prefix string) {
	_, user := guarded(t, w, prefix)
	put(t, user, prefix+"k", "1")
	ctx, kv := withToken(t, w), pb.NewKVClient(w.Client(t, -1).ActiveConnection())
	read := &pb.RangeRequest{Key: []byte(prefix + "k")}
	for range 3 { // in use, it lives longer than its TTL
		must[*pb.RangeResponse](t)(kv.Range(ctx, read))
		w.Pass(worldTokenTTL * 2 / 3)
	}
	w.Pass(worldTokenTTL + 1500*time.Millisecond) // etcd looks once a second
	_, err := kv.Range(ctx, read)
	mustFail(t, "a dead token", err, rpctypes.ErrInvalidAuthToken)
	_, err = kv.Range(metadata.AppendToOutgoingContext(bounded(t), rpctypes.TokenFieldNameGRPC, "no such token"), read)
	mustFail(t, "no token", err, rpctypes.ErrInvalidAuthToken)
	put(t, user, prefix+"k", "2") // its client gets a new one
}

func watchStreamKeepsToken(t *testing.T, w world, prefix string) {
	guarded(t, w, prefix)
	stream := must[pb.Watch_WatchClient](t)(pb.NewWatchClient(w.Client(t, -1).ActiveConnection()).Watch(withToken(t, w)))
	create := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: all(prefix, 0)}}
	ask := func() *pb.WatchResponse {
		t.Helper()
		if err := stream.Send(create); err != nil {
			t.Fatal(err)
		}
		return must[*pb.WatchResponse](t)(stream.Recv())
	}
	mustEqual(t, "the first watch", told(ask()), "0 created")
	w.Pass(worldTokenTTL + 1500*time.Millisecond)
	resp := ask()
	mustEqual(t, "a watch after the token's death", [3]any{resp.Created, resp.Canceled, resp.WatchId}, [3]any{true, true, int64(-1)})
	mustEqual(t, "why not", resp.CancelReason, rpctypes.ErrGRPCInvalidAuthToken.Error())
	put(t, w.Client(t, -1, "jie", "sesame"), prefix+"k", "1")
	mustEqual(t, "the first watch goes on", told(must[*pb.WatchResponse](t)(stream.Recv())), "0 put k=1")
}

func restartDropsTokens(t *testing.T, w world, prefix string) {
	_, user := guarded(t, w, prefix)
	ctx, kv := withToken(t, w), pb.NewKVClient(w.Client(t, 0).ActiveConnection())
	read := &pb.RangeRequest{Key: []byte(prefix + "k")}
	must[*pb.RangeResponse](t)(kv.Range(ctx, read))
	w.Restart(t)
	eventually(t, 10*time.Second, "an answer", func() bool {
		_, err := kv.Range(ctx, read)
		if err == nil {
			t.Fatal("the token outlived the restart")
		}
		return rpctypes.Error(err) == rpctypes.ErrInvalidAuthToken
	})
	eventually(t, 10*time.Second, "a write by the client", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := user.Put(ctx, prefix+"k", "")
		return err == nil
	})
}
