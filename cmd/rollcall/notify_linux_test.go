package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// manager is what systemd is to a process: a socket on which it is told how that is.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &manager{t, conn, path}
}

// hears returns what was told within a time, "" when nothing was.
func (m *manager) hears(within time.Duration) string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b[:n])
}

// runs starts rollcall as systemd would.
func (m *manager) runs(args ...string) *exec.Cmd {
	m.t.Helper()
	bin, err := exec.LookPath("rollcall")
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = m.t.TempDir()
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=300000")
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

func signalTo(t *testing.T, cmd *exec.Cmd, s os.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

const alive = "WATCHDOG=1"

func TestSystemdIsToldWhetherAServerIsUpAndAnswersAndStops(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	cmd := m.runs("server", "--client-url", "http://127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--http-listen", "", "--dns-listen", "", "--stop-timeout", "3s")
	if diff := cmp.Diff("READY=1\nSTATUS=up", m.hears(patience)); diff != "" {
		t.Fatalf("the first that systemd is told (-want +got):\n%s", diff)
	}
	for n := range 3 {
		if got := m.hears(patience); got != alive {
			t.Fatalf("after READY=1 and %d signs of life: %q", n, got)
		}
	}

	signalTo(t, cmd, syscall.SIGSTOP)
	for n := 0; m.hears(400*time.Millisecond) != ""; n++ { // what was on its way when it was halted
		if n > 3 {
			t.Fatal("a process that hangs says that it lives")
		}
	}
	signalTo(t, cmd, syscall.SIGCONT)
	if got := m.hears(patience); got != alive {
		t.Fatalf("a process that goes on says %q", got)
	}

	signalTo(t, cmd, syscall.SIGTERM)
	var last string
	for last = alive; last == alive; {
		last = m.hears(patience)
	}
	if diff := cmp.Diff("STOPPING=1\nSTATUS=calls under way may finish\nEXTEND_TIMEOUT_USEC=13000000", last); diff != "" {
		t.Errorf("at the stop systemd is told (-want +got):\n%s", diff)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := m.hears(time.Millisecond); got != "" {
		t.Errorf("after its end: %q", got)
	}
}

func TestSystemdIsToldOfARegistration(t *testing.T) {
	t.Parallel()
	m, etcd := newManager(t), etcdtest.Start(t)
	cmd := m.runs("register", "jie-test", "127.0.0.1:50051", "--etcd", etcd.Endpoint())
	if got := m.hears(patience); !strings.HasPrefix(got, "READY=1\n") {
		t.Errorf("when it is registered systemd is told %q", got)
	}
	signalTo(t, cmd, syscall.SIGTERM)
	if got := m.hears(patience); !strings.HasPrefix(got, "STOPPING=1\n") {
		t.Errorf("when it stops systemd is told %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
