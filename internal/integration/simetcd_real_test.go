package integration

import (
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
)

// real is etcd itself, embedded, with the timings that it has in production: leases depend on the election timeout.
type real struct {
	cfg  *embed.Config
	etcd *embed.Etcd // nil while stopped
	grpc *grpc.Server
}

// startReal starts an etcd on loopback, stopped when the test ends.
func startReal(t *testing.T) *real {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Name = "m1"
	cfg.Dir = filepath.Join(t.TempDir(), "data")
	client, peer := loopback(), loopback()
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.AuthToken, cfg.AuthTokenTTL = "simple", uint(worldTokenTTL/time.Second)
	cfg.BcryptCost = 4 // the least: passwords are not what is tested
	cfg.WatchProgressNotifyInterval = worldProgress
	cfg.UnsafeNoFsync = true
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	w := &real{cfg: cfg}
	t.Cleanup(w.stop)
	w.start(t)
	return w
}

// loopback picks an address that is free now and that nobody is given who asks for any.
func loopback() url.URL {
	for {
		addr := "127.0.0.1:" + strconv.Itoa(10240+rand.IntN(32768-10240))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return url.URL{Scheme: "http", Host: addr}
		}
	}
}

func (w *real) start(t *testing.T) {
	t.Helper()
	registered := make(chan *grpc.Server, 1)
	w.cfg.ServiceRegister = func(g *grpc.Server) { registered <- g }
	e, err := embed.StartEtcd(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.etcd = e
	select {
	case w.grpc = <-registered:
	case <-time.After(30 * time.Second):
		t.Fatal("etcd is not ready after 30 s")
	}
}

func (w *real) stop() {
	if w.etcd == nil {
		return
	}
	if w.grpc != nil {
		w.grpc.Stop()
	}
	w.etcd.Close()
	w.etcd, w.grpc = nil, nil
}

func (w *real) Client(t *testing.T, _ int, user ...string) *clientv3.Client {
	c := worldClient(t, rollcall.ClientConfig(w.cfg.ListenClientUrls[0].Host), user)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *real) Pass(d time.Duration) { <-time.After(d) }

func (w *real) Restart(t *testing.T) {
	t.Helper()
	w.stop()
	w.start(t)
}

func (w *real) Wipe(t *testing.T) {
	t.Helper()
	w.stop()
	w.replaceData(t, "")
	w.start(t)
}

func (w *real) Backup(t *testing.T) (restore func()) {
	t.Helper()
	w.stop()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(w.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	return func() {
		t.Helper()
		w.stop()
		w.replaceData(t, copied)
		w.start(t)
	}
}

// replaceData replaces the data of an etcd that does not run by a copy of another directory, or by nothing.
func (w *real) replaceData(t *testing.T, by string) {
	t.Helper()
	err := os.RemoveAll(w.cfg.Dir)
	if err == nil && by != "" {
		err = os.CopyFS(w.cfg.Dir, os.DirFS(by))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *real) NoSpace(t *testing.T) {
	t.Helper()
	c := w.Client(t, 0)
	_, err := pb.NewMaintenanceClient(c.ActiveConnection()).Alarm(within(t, 5*time.Second),
		&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: uint64(w.etcd.Server.MemberID()), Alarm: pb.AlarmType_NOSPACE})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *real) RevokeLease(t *testing.T, id clientv3.LeaseID) error {
	_, err := w.Client(t, 0).Revoke(bounded(t), id)
	return err
}

func (w *real) DeleteKey(t *testing.T, key string) bool {
	t.Helper()
	return must[*clientv3.DeleteResponse](t)(w.Client(t, 0).Delete(bounded(t), key)).Deleted > 0
}

func (w *real) PutKey(t *testing.T, key, value string, id clientv3.LeaseID) error {
	_, err := w.Client(t, 0).Put(bounded(t), key, value, clientv3.WithLease(id))
	return err
}

func (w *real) SetPermission(t *testing.T, role, prefix string) {
	t.Helper()
	admin := w.Client(t, 0, "root", "secret")
	for _, p := range must[*clientv3.AuthRoleGetResponse](t)(admin.RoleGet(bounded(t), role)).Perm {
		must[*clientv3.AuthRoleRevokePermissionResponse](t)(admin.RoleRevokePermission(bounded(t), role, string(p.Key), string(p.RangeEnd)))
	}
	must[*clientv3.AuthRoleGrantPermissionResponse](t)(admin.RoleGrantPermission(bounded(t), role, prefix,
		clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(authpb.READWRITE)))
}

// ExpireTokens waits as long as an unused token can live: etcd looks once a second.
func (w *real) ExpireTokens(*testing.T) { w.Pass(worldTokenTTL + 1500*time.Millisecond) }
