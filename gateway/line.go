package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"github.com/rollcall-io/rollcall"
)

const (
	maxMessage = 1 << 30 // a snapshot of 100,000 instances is some dozens of MB

	// receiveWindow is how many bytes may come before the first are acknowledged. gRPC, left to itself, finds a size by a ping after each message.
	receiveWindow = 2 << 20

	retryMin = 100 * time.Millisecond
	retryMax = time.Second
)

// alive has a connection noticed that fell silent. 10 s is the least that grpc-go allows; who holds registrations looks more often.
var alive = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}

// patience is how a connection is tried: a server that does not answer in time is left for the next.
var patience = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: retryMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: retryMax},
	MinConnectTimeout: 2 * time.Second,
}

// line is the connection to one of the servers, and to the next when that fails. Everything of one registry uses the same.
type line struct {
	addrs []string
	opts  []grpc.DialOption

	mu     sync.Mutex
	next   int // in addrs
	conn   *grpc.ClientConn
	closed bool
	since  time.Time // since when no server answers; zero while one does, or was not asked
	last   error     // what the last failed try met
}

func newLine(addrs []string, opts []grpc.DialOption) *line {
	return &line{addrs: addrs, opts: opts, next: rand.IntN(len(addrs))}
}

// get returns the connection, to be given to drop when it fails.
func (l *line) get() (*grpc.ClientConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, rollcall.ErrClosed
	}
	if l.conn != nil {
		return l.conn, nil
	}
	conn, err := grpc.NewClient("passthrough:///"+l.addrs[l.next%len(l.addrs)], l.opts...)
	if err != nil {
		return nil, err
	}
	l.conn = conn
	return conn, nil
}

// drop gives a connection up that failed, with all that uses it: they go on at the next server.
func (l *line) drop(conn *grpc.ClientConn, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		l.since = time.Now()
	}
	l.last = why
	if conn == nil || l.conn != conn {
		return
	}
	l.conn = nil
	l.next++
	_ = conn.Close()
}

// heard notes that a server answers.
func (l *line) heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since, l.last = time.Time{}, nil
}

func (l *line) status() (unreachable time.Time, last error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since, l.last
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// pause waits before the next try: longer after each, and not for everybody as long. It reports whether ctx still lives.
func pause(ctx context.Context, attempt int) bool {
	d := min(retryMin<<min(attempt, 10), retryMax)
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bearer sends a token with each call.
type bearer func() (string, error)

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (bearer) RequireTransportSecurity() bool { return true }
