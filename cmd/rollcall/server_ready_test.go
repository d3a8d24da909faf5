package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// A probe in a container has no names and no certificates but the server's own.
func TestAProbeKnowsAServerByTheCertificateOfItsSettings(t *testing.T) {
	t.Parallel()
	authority, others := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	own, strange := authority.Issue(t, "rollcall.example"), others.Issue(t, "rollcall.example")
	addr := loopbackAddr(t)
	settings := func(id etcdtest.Identity, ca string) string {
		file := filepath.Join(t.TempDir(), "rollcall.yaml")
		text := fmt.Sprintf("grpc-listen: %s\nhttp-listen: \"\"\ndns-listen: \"\"\nclient-url: http://127.0.0.1:0\ntls-cert: %s\ntls-key: %s\ntls-ca: %s\n", addr, id.CertFile, id.KeyFile, ca)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	bin, err := exec.LookPath("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	good := settings(own, authority.File)
	server := exec.Command(bin, "server", "--config", good)
	server.Dir = t.TempDir()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })

	ask := func(args ...string) (string, int) {
		return runQuietly(t, append([]string{"server", "ready"}, args...)...)
	}
	said, code := ask("--config", good)
	for deadline := time.Now().Add(patience); code != exitDone; said, code = ask("--config", good) {
		if time.Now().After(deadline) {
			t.Fatalf("the server is not ready, exit code %d: %s", code, said)
		}
	}
	if said, code := ask("--config", settings(strange, others.File)); code != exitUnreachable || !strings.Contains(said, "does not show the certificate of the settings") {
		t.Errorf("with another certificate in the settings the probe exits with %d: %s", code, said)
	}
	if said, code := ask("--server", addr); code != exitUnreachable {
		t.Errorf("without TLS the probe exits with %d: %s", code, said)
	}
}

// loopbackAddr is where nothing listens.
func loopbackAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
