package server_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/server"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

// TestMain fails when a goroutine is left. A connection between two members of one process may take the 5 s that etcd gives it to end,
// because etcd's own way to bound a read undoes the one of net/http to break it off.
func TestMain(m *testing.M) {
	code := m.Run()
	var err error
	for deadline := time.Now().Add(10 * time.Second); code == 0 && time.Now().Before(deadline); {
		if err = goleak.Find(); err == nil {
			break
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// timeout bounds what must work; stock etcd starts in a second, on a busy machine in several.
const timeout = 30 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// start runs a server until the returned function, which returns what Run did, or until t ends.
func start(t *testing.T, cfg server.Config) (info server.Info, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan server.Info, 1), make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = server.Run(ctx, cfg, func(i server.Info) { ready <- i })
	}()
	stop = func() error {
		cancel()
		select {
		case <-ended:
		case <-time.After(timeout):
			t.Fatalf("the server does not end")
		}
		return err
	}
	t.Cleanup(func() { _ = stop() })
	select {
	case info = <-ready:
	case <-ended:
		t.Fatalf("the server did not start: %v", err)
	case <-time.After(timeout):
		t.Fatalf("the server is not ready after %v", timeout)
	}
	return info, stop
}

// refused runs a server that must not start and must say so at once.
func refused(t *testing.T, cfg server.Config) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		ended <- server.Run(bounded(t), cfg, func(i server.Info) { t.Errorf("the server is ready: %+v", i) })
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Fatal("the server ended without an error")
		}
		return err
	case <-time.After(timeout / 2):
		t.Fatal("the server hangs")
		return nil
	}
}

// onFreePort is an embedded etcd with its data in dir.
func onFreePort(dir string) server.Config {
	return server.Config{DataDir: dir, ClientURL: "http://127.0.0.1:0", Prefix: rollcall.DefaultPrefix}
}

func connect(t *testing.T, info server.Info) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(rollcall.ClientConfig(info.Endpoints...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
}

func TestAServerKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	info, stop := start(t, onFreePort(dir))
	if _, err := connect(t, info).Put(bounded(t), "key", "kept"); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatalf("a stopped server returns %v, want nil", err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", info.Endpoints[0]); err == nil {
		_ = conn.Close()
		t.Errorf("%s accepts connections after the stop", info.Endpoints[0])
	}

	info, _ = start(t, onFreePort(dir))
	resp, err := connect(t, info).Get(bounded(t), "key")
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != "kept" {
		t.Errorf("after a restart key has %v", resp.Kvs)
	}
}

func TestInfoNamesWhatIsReal(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	info, _ := start(t, onFreePort(dir))
	status, err := connect(t, info).Status(bounded(t), info.Endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	if info.Version != status.Version {
		t.Errorf("version is %s, etcd says %s", info.Version, status.Version)
	}
	if want := "http://" + info.Endpoints[0]; info.ClientURL != want || strings.HasSuffix(want, ":0") {
		t.Errorf("client URL is %s, want %s", info.ClientURL, want)
	}
	if info.DataDir != dir || info.Prefix != rollcall.DefaultPrefix {
		t.Errorf("data directory and prefix are %s and %s, want %s and %s", info.DataDir, info.Prefix, dir, rollcall.DefaultPrefix)
	}
}

func TestEveryAllowedTTLIsGranted(t *testing.T) {
	t.Parallel()
	info, _ := start(t, onFreePort(t.TempDir()))
	lease, err := connect(t, info).Grant(bounded(t), int64(rollcall.MinTTL/time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(lease.TTL) * time.Second; got != rollcall.MinTTL {
		t.Errorf("etcd grants %v for the least TTL of %v", got, rollcall.MinTTL)
	}
}

func TestStopDoesNotWaitForOpenWatches(t *testing.T) {
	t.Parallel()
	info, stop := start(t, onFreePort(t.TempDir()))
	created := <-connect(t, info).Watch(bounded(t), "key", clientv3.WithCreatedNotify())
	if created.Err() != nil {
		t.Fatal(created.Err())
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("the stop returns %v, want nil", err)
		}
	case <-time.After(5 * time.Second): // etcd's own limit is 7 s
		t.Error("the stop waits for an open watch")
		<-stopped
	}
}

func TestAContextThatHasEndedIsACleanStop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Run(ctx, onFreePort(t.TempDir()), nil); err != nil {
		t.Errorf("Run returns %v, want nil", err)
	}
}

func TestATakenPortIsNamedAndTheDataDirectoryLeftAlone(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cfg := onFreePort(filepath.Join(t.TempDir(), "data"))
	cfg.ClientURL = "http://" + taken.Addr().String()

	err = refused(t, cfg)
	portErr, ok := errors.AsType[*server.PortError](err)
	if !ok {
		t.Fatalf("error is %v, want a PortError", err)
	}
	if portErr.Addr != taken.Addr().String() {
		t.Errorf("the error names %s, want %s", portErr.Addr, taken.Addr())
	}
	wantText(t, err, taken.Addr().String(), "in use", "stop what listens there", "--client-url")
	if _, err := os.Stat(cfg.DataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

func TestNobodyIsToldToStopWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	cfg := onFreePort(t.TempDir())
	cfg.ClientURL, cfg.Insecure = "http://192.0.2.1:2379", true // reserved for documents: no machine has it
	err := refused(t, cfg)
	wantText(t, err, "192.0.2.1:2379", "--client-url")
	if strings.Contains(err.Error(), "stop") {
		t.Errorf("error %q advises to stop something", err)
	}
}

func TestADataDirectoryInUseIsNamed(t *testing.T) {
	t.Parallel()
	ours := filepath.Join(t.TempDir(), "ours")
	_, stop := start(t, onFreePort(ours))
	foreign := etcdtest.Start(t)
	for name, dir := range map[string]string{"by a server": ours, "by a foreign etcd": foreign.DataDir()} {
		t.Run(name, func(t *testing.T) {
			err := refused(t, onFreePort(dir))
			locked, ok := errors.AsType[*server.LockedError](err)
			if !ok {
				t.Fatalf("error is %v, want a LockedError", err)
			}
			if locked.Path != dir {
				t.Errorf("the error names %s, want %s", locked.Path, dir)
			}
			wantText(t, err, dir, "--data-dir")
		})
	}

	if err := stop(); err != nil {
		t.Error(err)
	}
	foreign.Stop()
	start(t, onFreePort(ours))
	start(t, onFreePort(foreign.DataDir()))
}

func TestADataDirectoryThatCannotBeIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantText(t, refused(t, onFreePort(file)), file, "--data-dir")
}
