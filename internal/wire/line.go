// Package wire holds the engine's own connections to etcd: one member at a time, dialled afresh on our own schedule.
//
// The etcd client's connection spreads calls over all members and comes back to the same hung one now and then; and a
// client that the user made may carry a backoff longer than a lease lives. Heartbeats and watches therefore run here.
package wire

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall/internal/without"
)

var (
	errLineClosed  = errors.New("connection closed")
	errNoEndpoints = errors.New("the etcd client has no endpoints: a client made by NewCtxClient cannot be used")
)

// Line is a connection to one etcd member after another. Whoever finds the present one bad drops it, and everybody's
// next Conn is to the next member. It dials with the client's credentials and tokens.
type Line struct {
	client *Client

	mu      sync.Mutex
	current *Conn
	next    int // counts members; the first is random, so that a fleet spreads
	closed  bool
}

// Conn is one connection to one member.
type Conn struct {
	*grpc.ClientConn
	Endpoint string

	kv       clientv3.KV
	client   *Client
	streamed bool         // a stream costs no login
	heard    atomic.Int64 // when the member last answered, in nanoseconds since it was dialled
	dialled  time.Time

	open context.Context // ends when the connection is closed
	end  context.CancelFunc
}

// Call returns a context for one call on the connection: it ends after a time limit, with ctx, or when the connection
// is dropped. The etcd client's own interceptor would go on trying a closed connection until the limit.
func (c *Conn) Call(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.Context(ctx), limit)
	detach := context.AfterFunc(c.open, cancel)
	return ctx, func() {
		detach()
		cancel()
	}
}

// Heard notes that the member has answered something that takes a leader.
func (c *Conn) Heard() { c.heard.Store(int64(time.Since(c.dialled))) }

// HeardSince reports whether the member has answered since a moment.
func (c *Conn) HeardSince(t time.Time) bool { return c.heard.Load() > int64(t.Sub(c.dialled)) }

func (c *Conn) close() {
	c.end()
	c.ClientConn.Close()
}

// NewLine returns a line over the client's endpoints. Nothing is dialled before it is needed.
func NewLine(client *Client) *Line {
	return &Line{client: client, next: rand.IntN(1 << 16)}
}

// Conn returns the present connection, made when there is none. It does not wait for it to be ready.
func (l *Line) Conn() (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errLineClosed
	}
	if l.current != nil {
		return l.current, nil
	}
	client, err := l.client.get()
	if errors.Is(err, errClientClosed) {
		l.client.complain(err.Error(), "close the registry first")
	}
	if err != nil {
		return nil, err
	}
	endpoints := client.Endpoints()
	if len(endpoints) == 0 {
		return nil, errNoEndpoints
	}
	endpoint := endpoints[l.next%len(endpoints)]
	l.next++
	conn, err := client.Dial(endpoint)
	if err != nil {
		return nil, err
	}
	l.current = &Conn{
		ClientConn: conn, Endpoint: endpoint, client: l.client, streamed: client.Username == "", dialled: time.Now(),
		kv: clientv3.NewKVFromKVClient(ownKV{pb.NewKVClient(conn)}, client),
	}
	l.current.open, l.current.end = context.WithCancel(context.Background())
	return l.current, nil
}

// Members returns how many members there are to try.
func (l *Line) Members() int { return len(l.client.Endpoints()) }

// Drop closes c, with every stream on it, if it is still the present connection.
func (l *Line) Drop(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c != nil && l.current == c {
		c.close()
		l.current = nil
	}
}

// DropAfter is Drop after an error. Etcd that has too much to do says so at once: to begin everything anew on the next
// member would be more of that, so the connection is given up for it only when it has stood for a while.
func (l *Line) DropAfter(c *Conn, err error) {
	if c != nil && errors.Is(EtcdError(err), rpctypes.ErrTooManyRequests) && time.Since(c.dialled) < overloadPatience {
		return
	}
	l.Drop(c)
}

const overloadPatience = 30 * time.Second

// Silent asks every member for a sign of life, over a connection of its own, and returns those that gave none until ctx
// ended: they neither answered nor refused, as a process does that hangs, or a network that is cut.
func (l *Line) Silent(ctx context.Context) []string {
	client, err := l.client.get()
	if err != nil {
		return nil
	}
	endpoints := client.Endpoints()
	silent := make([]bool, len(endpoints))
	var wg sync.WaitGroup
	for n, endpoint := range endpoints {
		wg.Go(func() {
			conn, err := client.Dial(endpoint)
			if err != nil {
				return
			}
			defer conn.Close()
			_, err = pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{}, ours...)
			silent[n] = err != nil && ctx.Err() != nil
		})
	}
	wg.Wait()
	n := 0
	return slices.DeleteFunc(slices.Clone(endpoints), func(string) bool { n++; return !silent[n-1] })
}

// Close closes the line for good.
func (l *Line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.current != nil {
		l.current.close()
		l.current = nil
	}
}

// Backoff returns how long to wait before try n, counted from 0: 100 ms growing to 1 s, half of it random. It stays far
// below the shortest lease, since a lease that etcd kept through an outage must be renewed soon after it.
func Backoff(n int) time.Duration {
	if without.Backoff {
		return []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 100 * time.Second}[min(n, 3)]
	}
	d := min(100*time.Millisecond<<min(n, 8), time.Second)
	return d/2 + rand.N(d/2)
}

// RefusalBackoff is Backoff after a definite no, which nobody but an operator can change: 1 s growing to 8 s.
func RefusalBackoff(n int) time.Duration {
	d := time.Second << min(n, 3)
	return d + rand.N(d/4)
}

// Sleep waits for d and reports whether ctx lived through it.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
