package judge

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// patience bounds every wait for etcd.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	wal.SegmentSizeBytes = 1 << 20 // of the 64 MB that etcd reserves a test needs little
	goleak.VerifyTestMain(m)
}

func TestTheJudgeDoesNotUseWhatItJudges(t *testing.T) {
	t.Parallel()
	const module, own = "github.com/rollcall-io/rollcall", "github.com/rollcall-io/rollcall/chaos/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 10 {
		t.Fatalf("%d dependencies: has the list been read?", len(deps))
	}
	for _, dep := range deps {
		inside := strings.HasPrefix(dep, own+"journal") || strings.HasPrefix(dep, own+"judge")
		if (dep == module || strings.HasPrefix(dep, module+"/")) && !inside {
			t.Errorf("the judge depends on %s", dep)
		}
	}
}

// server is an etcd of one member, embedded in the test.
type server struct {
	t    *testing.T
	dir  string
	addr string
	etcd *embed.Etcd
	grpc *grpc.Server
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "etcd")}
	t.Cleanup(s.stop)
	var err error
	for range 20 { // another process may take the port meanwhile
		l, failure := net.Listen("tcp", "127.0.0.1:0")
		if failure != nil {
			t.Fatal(failure)
		}
		s.addr = l.Addr().String()
		_ = l.Close()
		if err = s.try(); err == nil {
			return s
		}
	}
	t.Fatalf("start etcd: %v", err)
	return nil
}

func (s *server) start() {
	s.t.Helper()
	await(s.t, "etcd starts again", func() bool { return s.try() == nil })
}

func (s *server) try() error {
	client := []url.URL{{Scheme: "http", Host: s.addr}}
	registered := make(chan *grpc.Server, 1)
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.ZapLoggerBuilder = s.dir, "fatal", embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls, cfg.ListenPeerUrls = client, client, nil
	cfg.TickMs, cfg.ElectionMs, cfg.UnsafeNoFsync = 10, 100, true
	cfg.ServiceRegister = func(g *grpc.Server) { registered <- g }
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	select {
	case s.grpc = <-registered:
	case <-time.After(patience):
		s.t.Fatal("etcd is not ready")
	}
	s.etcd = etcd
	return nil
}

func (s *server) stop() {
	if s.etcd != nil {
		s.grpc.Stop() // Close alone waits for open watches
		s.etcd.Close()
		s.etcd = nil
	}
}

// wipe starts the server again without its data.
func (s *server) wipe() {
	s.t.Helper()
	s.stop()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

func (s *server) client() *clientv3.Client {
	s.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.addr}, Logger: zap.NewNop()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func value(incarnation, state string) string {
	return fmt.Sprintf(`{"Op":0,"Addr":"10.0.0.1:1","ID":"x","Incarnation":%q,"State":%q}`, incarnation, state)
}
