package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestSystemdIsToldOfAProgramWhenItIsRegisteredAndWhenItGoes(t *testing.T) {
	needProgram(t, "python3")
	etcd := etcdtest.Start(t)
	t.Setenv("ROLLCALL_ETCD", etcd.Endpoint())
	m, port := newManager(t), freePort(t)
	cmd := m.runs("run", "web", "127.0.0.1:"+port, "--drain", "0", "--", "sh", "-c",
		`test -z "$NOTIFY_SOCKET$WATCHDOG_USEC" && exec python3 -m http.server --bind 127.0.0.1 `+port)
	if got, want := m.hears(patience), "READY=1\nSTATUS=registered"; got != want {
		t.Fatalf("heard %q, want %q", got, want)
	}
	kvs, err := etcd.Client(t).Get(t.Context(), "rollcall/services/web/127.0.0.1:"+port)
	if err != nil || kvs.Count != 1 {
		t.Errorf("told that it is there before it was: %v, %v", kvs, err)
	}
	signalTo(t, cmd, syscall.SIGTERM)
	if got := m.hears(patience); !strings.HasPrefix(got, "STOPPING=1\n") {
		t.Errorf("heard %q, want STOPPING=1", got)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != signalled+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want that of the program, %d", got, signalled+int(syscall.SIGTERM))
	}
}
