package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

// asked returns a connection with flags as they were given.
func asked(t *testing.T, args ...string) *connection {
	t.Helper()
	c, cmd := &connection{}, &cobra.Command{}
	c.bind(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if _, err := fillFromEnvironment(cmd); err != nil {
		t.Fatal(err)
	}
	return c
}

// serveHealth serves a server's health on loopback.
func serveHealth(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr().String()
}

func TestAFlagSaysWhoIsAskedThenAVariableThenWhoIsNear(t *testing.T) {
	near := serveHealth(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Addr().String()
	_ = gone.Close()
	for _, c := range []struct {
		name         string
		args         []string
		server, etcd string // variables
		near         string
		want, says   string
	}{
		{"a server by flag", []string{"--server", "s:1,t:2"}, "v:1", "e:1", near, "the server at s:1, t:2", ""},
		{"etcd by flag", []string{"--etcd", "e:2"}, "v:1", "", near, "etcd at e:2", ""},
		{"a server by variable", nil, "v:1", "e:1", near, "the server at v:1", ""},
		{"etcd by variable", nil, "", "e:1", near, "etcd at e:1", ""},
		{"nobody, and a server is near", nil, "", "", near, "the server at " + near, "asking the server at " + near + "; --server or --etcd asks another\n"},
		{"nobody, and none is near", nil, "", "", nobody, "etcd at 127.0.0.1:2379", "no server at " + nobody + ", asking etcd at 127.0.0.1:2379; --server or --etcd asks another\n"},
		{"a prefix, which is etcd's", []string{"--prefix", "mine"}, "", "", near, "etcd at 127.0.0.1:2379", ""},
	} {
		t.Setenv("ROLLCALL_SERVER", c.server)
		t.Setenv("ROLLCALL_ETCD", c.etcd)
		conn := asked(t, c.args...)
		conn.nearby = c.near
		var says strings.Builder
		if err := conn.choose(&says); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := conn.place(); got != c.want || says.String() != c.says {
			t.Errorf("%s: %s is asked, and it says %q; want %s, and %q", c.name, got, says.String(), c.want, c.says)
		}
	}
}

func TestATokenIsReadFromItsFileOrVariableAndSentOverTLSOnly(t *testing.T) {
	t.Setenv("ROLLCALL_TOKEN", "from-the-variable")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-the-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{"from-the-variable": nil, "from-the-file": {"--token-file", file}} {
		if got, err := asked(t, args...).token(); got != want || err != nil {
			t.Errorf("the token is %q, %v; want %q", got, err, want)
		}
	}
	if _, err := dialServers(asked(t, "--server", "h:1")); err == nil || exitCode(t.Context(), err) != exitUsage || !strings.Contains(err.Error(), "over TLS only") {
		t.Errorf("a token in plain text: %v", err)
	}
}

func TestWhatAServerRefusesHasItsExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
		says string
	}{
		{&rollcall.InvalidError{Field: "limit", Value: "-1", Rule: "it is 0 or more"}, exitUsage, "limit -1: it is 0 or more"},
		{rollcall.ErrNotFound, exitNotFound, "not found"},
		{rollcall.ErrRevision, exitNotFound, "'rollcall history -o wide'"},
		{rollcall.ErrPermissionDenied, exitDenied, "does not allow it"},
		{status.Error(codes.PermissionDenied, "token:ci may not read web"), exitDenied, "token:ci may not read web"},
		{status.Error(codes.Unauthenticated, "who are you?"), exitDenied, "who are you?"},
		{status.Error(codes.Unimplemented, "unknown service"), exitFailure, "does not know how"},
		{errors.New("anything"), exitFailure, "anything"},
	} {
		got := refusal(grpcapi.StatusOf(c.err).Err())
		if code := exitCode(t.Context(), got); code != c.want || !strings.Contains(got.Error(), c.says) {
			t.Errorf("%v becomes %q with the exit code %d; want %q with %d", c.err, got, code, c.says, c.want)
		}
	}
}
