package simulation

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

const (
	raceTTL   = 15 * time.Second
	raceLimit = 20 * time.Second // of every call's context
	raceDir   = "rollcall/services/svc/"
)

// race is an etcd of three members, the registry that is looked at, and perhaps a rival of it, in a bubble of their own.
type race struct {
	t       *testing.T
	cluster *simetcd.Cluster
	points  *points
	logins  bool         // etcd wants a password
	conns   atomic.Int64 // open to members
	meddled atomic.Bool  // somebody else took keys away
	taken   atomic.Bool  // another registration of the first one's id was begun

	registry *rollcall.Registry
	cancel   context.CancelFunc // of the operation that is raced against

	mu    sync.Mutex
	all   []*rollcall.Registry
	held  []*rollcall.Registration // by whichever Register returned them
	calls []*racedCall
}

// racedCall is a call, and what became of it.
type racedCall struct {
	done chan struct{}
	name string
	err  error
	took time.Duration
}

// open returns a registry whose connections are counted.
func (r *race) open(opts ...grpc.DialOption) *rollcall.Registry {
	cfg := rollcall.ClientConfig(r.cluster.Endpoints()[1:]...) // not the leader's
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithContextDialer(r.dial))
	cfg.DialOptions = append(cfg.DialOptions, opts...)
	if r.logins {
		cfg.Username, cfg.Password = "root", "secret"
	}
	reg, err := rollcall.Open(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, reg)
	return reg
}

// counted is a connection that knows when it is closed.
type counted struct {
	net.Conn
	once  sync.Once
	conns *atomic.Int64
}

func (r *race) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := r.cluster.Dialer()(ctx, address)
	if err != nil {
		return nil, err
	}
	r.conns.Add(1)
	return &counted{Conn: c, conns: &r.conns}, nil
}

func (c *counted) Close() error {
	c.once.Do(func() { c.conns.Add(-1) })
	return c.Conn.Close()
}

// start begins a call.
func (r *race) start(ctx context.Context, name string, do func(*race, context.Context) error) {
	c := &racedCall{name: name, done: make(chan struct{})}
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
	go func() {
		defer close(c.done)
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, raceLimit)
		defer cancel()
		c.err = do(r, ctx)
		c.took = time.Since(began)
	}()
}

// wait waits for all calls that were begun.
func (r *race) wait() {
	for n := 0; ; n++ {
		r.mu.Lock()
		if n == len(r.calls) {
			r.mu.Unlock()
			return
		}
		c := r.calls[n]
		r.mu.Unlock()
		<-c.done
	}
}

// member returns the one that the registry talks to.
func (r *race) member() *simetcd.Member {
	target := r.points.target()
	for _, m := range r.cluster.Members() {
		if strings.HasSuffix(target, m.Endpoint()) {
			return m
		}
	}
	r.t.Errorf("no member is %q", target)
	return r.cluster.Member(0)
}

// silence loses all that goes to the member and comes from there for a while: no network loses a single message of a
// stream.
func (r *race) silence(lasts time.Duration) {
	m := r.member()
	m.LoseRequests()
	m.LoseReplies()
	time.AfterFunc(lasts, m.Heal)
}

func (r *race) register(ctx context.Context, reg *rollcall.Registry, addr string) error {
	g, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: addr}, rollcall.WithTTL(raceTTL))
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.held = append(r.held, g)
	r.mu.Unlock()
	if r.lies(g) == "" && g.Err() == nil && !r.meddled.Load() {
		return fmt.Errorf("%w: registered, and not in etcd", errPromise)
	}
	return nil
}

// first returns the registration that was there before the race.
func (r *race) first() *rollcall.Registration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[0]
}
