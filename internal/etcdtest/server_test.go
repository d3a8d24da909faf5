package etcdtest_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// timeout bounds what must work.
const timeout = 20 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := client.Put(bounded(t), key, value); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func get(t *testing.T, client *clientv3.Client, key string) string {
	t.Helper()
	resp, err := client.Get(bounded(t), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func TestRestartKeepsDataAndPortAndClientsComeBack(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client, endpoint := s.Client(t), s.Endpoint()
	put(t, client, "key", "before")

	s.Stop()
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", endpoint); err == nil {
		_ = conn.Close()
		t.Errorf("%s accepts connections after Stop", endpoint)
	}
	s.Restart()

	if s.Endpoint() != endpoint {
		t.Errorf("endpoint is %s after a restart, was %s", s.Endpoint(), endpoint)
	}
	if got := get(t, client, "key"); got != "before" {
		t.Errorf("key is %q after a restart, want %q", got, "before")
	}
}

func TestStopDoesNotWaitForOpenWatches(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	watch := client.Watch(bounded(t), "key")
	put(t, client, "key", "value")
	<-watch

	stopped := make(chan struct{})
	go func() { defer close(stopped); s.Stop() }()
	select {
	case <-stopped:
	case <-time.After(4 * time.Second): // etcd's own limit is above 5 s
		t.Error("Stop waits for an open watch")
		<-stopped
	}
}

func TestTheLeastTTLIsAtMostTwoSeconds(t *testing.T) {
	t.Parallel()
	client := etcdtest.Start(t).Client(t)
	lease, err := client.Grant(bounded(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if lease.TTL > 2 {
		t.Errorf("etcd grants at least %d s", lease.TTL)
	}
}

func TestCompactCancelsWatchesOfThePast(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	for range 3 {
		put(t, client, "key", "value")
	}
	compacted := s.Compact(t)

	resp := <-client.Watch(bounded(t), "key", clientv3.WithRev(2))
	if err := resp.Err(); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("watch from the past ends with %v, want %v", err, rpctypes.ErrCompacted)
	}
	if resp.CompactRevision != compacted {
		t.Errorf("etcd is compacted at %d, Compact returned %d", resp.CompactRevision, compacted)
	}
}

func TestServersShareNothing(t *testing.T) {
	t.Parallel()
	a, b := etcdtest.Start(t), etcdtest.Start(t)
	put(t, a.Client(t), "key", "a")
	if got := get(t, b.Client(t), "key"); got != "" {
		t.Errorf("a key of one server is %q in another", got)
	}
}
