package etcdtest_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// silence is how long a test listens before it believes that nothing comes.
const silence = 300 * time.Millisecond

// behind returns a proxy before a server, and two clients: one that reaches the server directly, one through the proxy.
// After Heal the tests only read through it: should the reset of its connection meet a read, the client repeats it.
func behind(t *testing.T) (p *etcdtest.Proxy, direct, through *clientv3.Client) {
	t.Helper()
	s := etcdtest.Start(t)
	p = etcdtest.StartProxy(t, s.Endpoint())
	through, err := clientv3.New(rollcall.ClientConfig(p.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = through.Close() })
	put(t, through, "key", "through a healthy proxy")
	return p, s.Client(t), through
}

// putInVain puts through a proxy that lets no answer through.
func putInVain(t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), silence)
	defer cancel()
	if _, err := client.Put(ctx, key, value); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put ends with %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestACutProxyResetsConnectionsUntilItHeals(t *testing.T) {
	t.Parallel()
	p, _, through := behind(t)
	old := dial(t, p)
	p.Cut()
	if _, err := old.Read(make([]byte, 1)); err == nil || timedOut(err) {
		t.Errorf("an old connection is not reset: %v", err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr()); err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetReadDeadline(time.Now().Add(timeout))
		if _, err := conn.Read(make([]byte, 1)); err == nil || timedOut(err) {
			t.Errorf("a new connection is not reset: %v", err)
		}
	}
	p.Heal()
	get(t, through, "key")
}

func TestABlackHoleIsSilentAndItsConnectionsEndWhenItHeals(t *testing.T) {
	t.Parallel()
	p, direct, through := behind(t)
	p.BlackHole()
	putInVain(t, through, "key", "swallowed")
	if got, want := get(t, direct, "key"), "through a healthy proxy"; got != want {
		t.Errorf("key is %q, want %q", got, want)
	}
	conn := dial(t, p)
	_ = conn.SetReadDeadline(time.Now().Add(silence))
	if _, err := conn.Read(make([]byte, 1)); !timedOut(err) {
		t.Errorf("a connection into a black hole is not silent: %v", err)
	}

	p.Heal()
	_ = conn.SetReadDeadline(time.Now().Add(timeout))
	if _, err := conn.Read(make([]byte, 1)); err == nil || timedOut(err) {
		t.Errorf("a connection into a black hole outlives it: %v", err)
	}
	get(t, through, "key")
}

func TestDroppedRepliesLeaveRequestsCarriedOut(t *testing.T) {
	t.Parallel()
	p, direct, through := behind(t)
	p.DropReplies()
	putInVain(t, through, "key", "carried out")
	deadline := time.Now().Add(timeout)
	for get(t, direct, "key") != "carried out" {
		if time.Now().After(deadline) {
			t.Fatalf("key is %q", get(t, direct, "key"))
		}
	}
	p.Heal()
	get(t, through, "key")
}

func TestHealingAHealthyProxyLeavesItsConnectionsAlone(t *testing.T) {
	t.Parallel()
	p, direct, through := behind(t)
	watch := through.Watch(bounded(t), "other", clientv3.WithCreatedNotify())
	<-watch
	conn := dial(t, p)
	p.Heal()
	_ = conn.SetReadDeadline(time.Now().Add(silence))
	if _, err := conn.Read(make([]byte, 1)); err != nil && !timedOut(err) {
		t.Errorf("connection is gone: %v", err)
	}
	put(t, direct, "other", "value")
	if resp := <-watch; resp.Err() != nil || len(resp.Events) != 1 {
		t.Errorf("watch brings %+v, want one event", resp)
	}
}

func dial(t *testing.T, p *etcdtest.Proxy) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(timeout))
	return conn
}

func timedOut(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}
