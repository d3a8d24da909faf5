package faultproxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"go.uber.org/goleak"
)

const (
	silence = 200 * time.Millisecond // how long a test listens before it believes that nothing comes
	timeout = 20 * time.Second       // bounds every wait for something that comes
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ends is what a test has of one connection through a proxy: both of its ends.
type ends struct{ client, server net.Conn }

// world is a proxy before a server, whose connections the test answers itself.
type world struct {
	*faultproxy.Proxy
	server net.Listener
}

func start(t *testing.T) world {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return world{faultproxy.Start(t, l.Addr().String()), l}
}

// dial makes a connection to the proxy, of which the server need not learn.
func (w world) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// connect makes a connection through the proxy, over which both ends have been heard.
func (w world) connect(t *testing.T) ends {
	t.Helper()
	client := w.dial(t)
	_ = w.server.(*net.TCPListener).SetDeadline(time.Now().Add(timeout))
	server, err := w.server.Accept()
	if err != nil {
		t.Fatalf("nothing comes through the proxy: %v", err)
	}
	t.Cleanup(func() { _ = server.Close() })
	say(t, client, "hello")
	hears(t, server, "hello")
	say(t, server, "welcome")
	hears(t, client, "welcome")
	return ends{client, server}
}

func say(t *testing.T, conn net.Conn, words string) {
	t.Helper()
	_ = conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(conn, words); err != nil {
		t.Fatalf("say %q: %v", words, err)
	}
}

func hears(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(timeout))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("hears %q, %v; want %q", got[:n], err, want)
	}
}

// hearsNothing fails if one of the connections brings a byte or an end while all are listened to.
func hearsNothing(t *testing.T, conns ...net.Conn) {
	t.Helper()
	patience := silence
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		patience = silence / 10 // what has come by now is read at once
		got := make([]byte, 1)
		n, err := conn.Read(got)
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Fatalf("hears %q, %v; want silence", got[:n], err)
		}
	}
}

func isReset(t *testing.T, conns ...net.Conn) {
	t.Helper()
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(timeout))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("connection ends with %v, want a reset", err)
		}
	}
}

func hasEnded(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(timeout))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("connection ends with %v, want %v", err, io.EOF)
	}
}

func TestAHealthyProxyPassesWordsAndEnds(t *testing.T) {
	t.Parallel()
	w := start(t)
	one, other := w.connect(t), w.connect(t)
	_ = one.client.Close()
	hasEnded(t, one.server)
	_ = other.server.Close()
	hasEnded(t, other.client)
}

func TestACutProxyResetsConnectionsUntilItHeals(t *testing.T) {
	t.Parallel()
	w := start(t)
	old := w.connect(t)
	w.Cut()
	isReset(t, old.client, old.server)
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.Addr()); err == nil {
		defer func() { _ = conn.Close() }()
		isReset(t, conn)
	}
	w.Heal()
	w.connect(t)
}

func TestABlackHoleIsSilentAndItsConnectionsEndWhenItHeals(t *testing.T) {
	t.Parallel()
	w := start(t)
	old := w.connect(t)
	w.BlackHole()
	fresh := w.dial(t)
	say(t, old.client, "swallowed")
	say(t, old.server, "swallowed")
	say(t, fresh, "swallowed")
	hearsNothing(t, old.client, old.server, fresh)
	w.Heal()
	isReset(t, old.client, old.server, fresh)
	w.connect(t)
}

func TestDroppedRepliesLeaveRequestsHeard(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.DropReplies()
	say(t, c.client, "request")
	hears(t, c.server, "request")
	say(t, c.server, "reply")
	hearsNothing(t, c.client)
	w.Heal()
	isReset(t, c.client, c.server)
	w.connect(t)
}

func TestDroppedRequestsLeaveTheServersWordsHeard(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.DropRequests()
	say(t, c.client, "request")
	hearsNothing(t, c.server)
	say(t, c.server, "an event")
	hears(t, c.client, "an event")
	w.Heal()
	isReset(t, c.client, c.server)
	w.connect(t)
}

func TestADelayHoldsEachDirection(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.Delay(2 * silence)
	for _, way := range []ends{c, {client: c.server, server: c.client}} {
		begin := time.Now()
		say(t, way.client, "late")
		hearsNothing(t, way.server)
		hears(t, way.server, "late")
		if took := time.Since(begin); took < 2*silence {
			t.Errorf("takes %v, want at least %v", took, 2*silence)
		}
	}
	_ = c.client.Close()
	hearsNothing(t, c.server)
	hasEnded(t, c.server)
}

func TestADelayKeepsTheOrderWhenItShrinksAndLosesNothing(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.Delay(2 * silence)
	say(t, c.client, "first")
	hearsNothing(t, c.server) // the proxy has read it by now
	w.Delay(0)
	say(t, c.client, "second")
	hears(t, c.server, "firstsecond")
	w.Heal()
	say(t, c.server, "still the same connection")
	hears(t, c.client, "still the same connection")
}

func TestADelayedLinkTakesNoMoreThanItHolds(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.Delay(time.Hour)
	const limit = 64 << 20
	part, taken := make([]byte, 1<<20), 0
	for taken < limit {
		_ = c.client.SetWriteDeadline(time.Now().Add(5 * silence))
		n, err := c.client.Write(part)
		taken += n
		if err != nil {
			break
		}
	}
	if taken == 0 || taken >= limit {
		t.Errorf("the proxy takes %d MiB and holds them, want some and an end of them", taken>>20)
	}
}

func TestADelayedFloodArrivesWhole(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.Delay(10 * time.Millisecond)
	flood := make([]byte, 24<<20)
	for i := range flood {
		flood[i] = byte(i >> 8)
	}
	go func() { _, _ = c.client.Write(flood) }()
	got := make([]byte, len(flood))
	_ = c.server.SetReadDeadline(time.Now().Add(timeout))
	if n, err := io.ReadFull(c.server, got); err != nil || !bytes.Equal(got, flood) {
		t.Errorf("%d of %d bytes arrive, or others: %v", n, len(flood), err)
	}
}

func TestAFlapResetsConnectionsAndNewOnesWork(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.Reset()
	isReset(t, c.client, c.server)
	w.connect(t)
}

func TestAFlapDoesNotHealWhatIsBroken(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.connect(t)
	w.BlackHole()
	w.Reset()
	conn := w.dial(t)
	say(t, conn, "swallowed")
	hearsNothing(t, conn)
}

func TestAHalfOpenConnectionIsSilentForEverAndNewOnesWork(t *testing.T) {
	t.Parallel()
	w := start(t)
	old, left, gone := w.connect(t), w.connect(t), w.connect(t)
	w.HalfOpen()
	fresh := w.connect(t)
	say(t, old.client, "swallowed")
	say(t, old.server, "swallowed")
	_ = left.client.Close()
	_ = gone.server.Close()
	hearsNothing(t, old.client, old.server, left.server, gone.client)

	w.DropReplies() // whatever comes next, they stay as they are
	hearsNothing(t, old.client, old.server, left.server, gone.client)
	w.HalfOpen()
	w.Heal()
	isReset(t, old.client, old.server, left.server, gone.client, fresh.client)
}

func TestHealingHalfOpenConnectionsLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	w := start(t)
	old := w.connect(t)
	w.HalfOpen()
	fresh := w.connect(t)
	w.Heal()
	isReset(t, old.client, old.server)
	say(t, fresh.client, "still here")
	hears(t, fresh.server, "still here")
}

func TestHealingAHealthyProxyLeavesItsConnectionsAlone(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(t)
	w.Heal()
	hearsNothing(t, c.client, c.server)
	say(t, c.client, "still here")
	hears(t, c.server, "still here")
}
