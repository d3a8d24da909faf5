package failpoints_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/failpoints"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The first run builds the server, which takes a minute and the module proxy.
func TestAFailpointHoldsWritesUntilItIsCleared(t *testing.T) {
	began := time.Now()
	etcd, err := failpoints.Etcd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the server is there after %v", time.Since(began).Round(time.Millisecond))
	client, control := start(t, etcd)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	put(ctx, t, client) // the server is up

	const failpoint, least = "raftBeforeSave", 800 * time.Millisecond
	if err := failpoints.Set(ctx, control, failpoint, "sleep(1000)"); err != nil {
		t.Fatal(err)
	}
	if took := put(ctx, t, client); took < least {
		t.Errorf("a put takes %v, want at least %v", took, least)
	}
	if err := failpoints.Clear(ctx, control, failpoint); err != nil {
		t.Fatal(err)
	}
	for put(ctx, t, client) >= least {
		t.Log("a put is still slow")
	}
	if err := failpoints.Set(ctx, control, "noSuchFailpoint", "sleep(1000)"); err == nil {
		t.Error("a failpoint that does not exist can be set")
	}
	if err := failpoints.Clear(ctx, control, failpoint); err == nil {
		t.Error("a failpoint that was not set can be cleared")
	}
}

// start starts the server, and returns a client of it and where it is told of failpoints.
func start(t *testing.T, etcd string) (client *clientv3.Client, control string) {
	t.Helper()
	dir := t.TempDir()
	urls, peers := "http://"+free(t), "http://"+free(t)
	control = free(t)
	cmd := exec.Command(etcd, "--data-dir", filepath.Join(dir, "data"), "--log-outputs", filepath.Join(dir, "log"), "--initial-cluster", "default="+peers,
		"--listen-client-urls", urls, "--advertise-client-urls", urls, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers)
	cmd.Env = append(os.Environ(), failpoints.EnvHTTP+"="+control)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{urls}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, control
}

func put(ctx context.Context, t *testing.T, client *clientv3.Client) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := client.Put(ctx, "key", "value"); err != nil {
		t.Fatalf("put: %v", err)
	}
	return time.Since(began)
}

// free finds an address that is free now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
