// Package etcdtest gives tests a real etcd, on loopback, with its data in a directory of the test's own: one that is
// embedded in the test, or a cluster whose members are processes.
//
//	func TestMain(m *testing.M) { etcdtest.Main(m) }
//
//	s := etcdtest.Start(t)
//	client := s.Client(t)
//
// A server can be stopped and restarted with the same data on the same port. The members of a [Cluster] can hang and be
// killed, one by one or all together. Networks that fail are in internal/faultproxy. Only tests may import this package:
// it links the whole of etcd.
package etcdtest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

// patience bounds every wait for etcd. It is far more than etcd needs, for machines that run much beside the tests.
const patience = 30 * time.Second

// Main runs the tests of a package, then fails if a goroutine of theirs still runs, and exits. Call it from TestMain, as
// the last thing: in a process that is to be a member of a [Cluster] it is that instead, and returns.
func Main(m *testing.M) {
	if spec := os.Getenv(memberEnv); spec != "" {
		beMember(spec)
		return
	}
	goleak.VerifyTestMain(m)
}

// Client returns a client of the server, made with [rollcall.ClientConfig], that is closed when t ends. It works from
// one Stop to the next Restart no more than any other client, and comes back by itself.
func (s *Server) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	return newClient(t, s.Endpoint())
}

// Compact drops etcd's history before the current revision, which it returns. The history is gone from the disk too
// when Compact returns: a watch from an earlier revision is cancelled.
func (s *Server) Compact(t testing.TB) int64 {
	t.Helper()
	return compact(t, s.Endpoint())
}

func compact(t testing.TB, endpoints ...string) int64 {
	t.Helper()
	client := newClient(t, endpoints...)
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	head, err := client.Get(ctx, "head", clientv3.WithCountOnly())
	if err != nil {
		t.Fatalf("read etcd's revision: %v", err)
	}
	if _, err := client.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatalf("compact etcd at revision %d: %v", head.Header.Revision, err)
	}
	return head.Header.Revision
}

// newClient returns a client of some endpoints that is closed when t ends.
func newClient(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(rollcall.ClientConfig(endpoints...))
	if err != nil {
		t.Fatalf("make an etcd client for %s: %v", endpoints, err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
