package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// world is an etcd, servers that check and instances that are well or not, in simulated time. Only the probes are made up: a socket is
// not of that time.
type world struct {
	t    *testing.T
	etcd *simetcd.Cluster
	reg  *rollcall.Registry // of those who register and look

	mu      sync.Mutex
	sick    map[string]string // by address: what a probe meets
	slow    map[string]time.Duration
	probes  []made
	most    int // probes under way at once
	running int
}

// made is a probe that was made.
type made struct {
	by, addr string
	at       time.Time
}

// simulate runs a test in simulated time.
func simulate(t *testing.T, test func(*testing.T, *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, etcd: simetcd.New(simetcd.Options{}), sick: map[string]string{}, slow: map[string]time.Duration{}}
		t.Cleanup(w.etcd.Stop)
		w.reg = w.open(rollcall.WithFollowAll())
		test(t, w)
	})
}

func (w *world) open(opts ...rollcall.Option) *rollcall.Registry {
	w.t.Helper()
	reg, err := rollcall.Open(w.etcd.Config(), opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = reg.Close(context.Background()) })
	return reg
}

// server is one that checks.
type server struct {
	w       *world
	name    string
	reg     *rollcall.Registry
	checker *Checker
	own     *rollcall.Registration
	cable   *cable
	end     func()
}

// cable is what connects a server to etcd, and can be cut.
type cable struct {
	dial func(context.Context, string) (net.Conn, error)

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (c *cable) connect(ctx context.Context, addr string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, errors.New("cut")
	}
	conn, err := c.dial(ctx, addr)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for _, conn := range c.conns {
		conn.Close()
	}
}

// serve starts a server that checks.
func (w *world) serve(name string, change ...func(*Config)) *server {
	w.t.Helper()
	s := &server{w: w, name: name, cable: &cable{dial: w.etcd.Dialer()}}
	cfg := w.etcd.Config()
	cfg.DialOptions = append(slices.Clone(cfg.DialOptions), grpc.WithContextDialer(s.cable.connect))
	var err error
	if s.reg, err = rollcall.Open(cfg, rollcall.WithFollowAll()); err != nil {
		w.t.Fatal(err)
	}
	if s.own, err = s.reg.Register(w.t.Context(), rollcall.ServerService, rollcall.Instance{ID: name, Addr: name + ":7051"}); err != nil {
		w.t.Fatal(err)
	}
	config := Config{Self: name}
	for _, f := range change {
		f(&config)
	}
	s.checker = New(s.reg, config)
	s.checker.probe = func(ctx context.Context, addr string, c rollcall.Check) string { return w.probe(ctx, name, addr, c) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.checker.Run(ctx) }()
	s.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
		_ = s.reg.Close(context.Background())
	})
	w.t.Cleanup(s.end)
	return s
}

// kill ends a server as a crash does: etcd hears nothing.
func (s *server) kill() {
	s.cable.sever()
	go s.end()
}

// probe is what a server's prober is here.
func (w *world) probe(ctx context.Context, by, addr string, c rollcall.Check) string {
	w.mu.Lock()
	w.running++
	w.most = max(w.most, w.running)
	w.probes = append(w.probes, made{by, addr, time.Now()})
	outcome, takes := w.sick[addr], w.slow[addr]
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.running--
	}()
	wait := time.NewTimer(min(takes, c.Timeout))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return outcomeVoid
	case <-wait.C:
	}
	if takes > c.Timeout {
		return outcomeTimeout
	}
	return outcome
}

// fall has probes of instances meet something; "" makes them well.
func (w *world) fall(outcome string, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, addr := range addrs {
		w.sick[addr] = outcome
	}
}

// since returns the probes made since they were asked for last.
func (w *world) since() []made {
	w.mu.Lock()
	defer w.mu.Unlock()
	probes := w.probes
	w.probes = nil
	return probes
}

func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// register registers instances that ask for a check, and returns their addresses.
func (w *world) register(service string, n int, c rollcall.Check) []string {
	w.t.Helper()
	var addrs []string
	var registering sync.WaitGroup
	for i := range n {
		addr := fmt.Sprintf("10.0.%d.%d:80", i/250, i%250+1)
		addrs = append(addrs, addr)
		registering.Go(func() {
			if _, err := w.reg.Register(w.t.Context(), service, rollcall.Instance{Addr: addr, Check: &c}, rollcall.WithTTL(time.Minute)); err != nil {
				w.t.Error(err)
			}
		})
	}
	registering.Wait()
	w.pass(100 * time.Millisecond) // until it is seen
	return addrs
}

func (w *world) registerOne(addr string) *rollcall.Registration {
	w.t.Helper()
	r, err := w.reg.Register(w.t.Context(), "orders", rollcall.Instance{Addr: addr, Check: &ordinary})
	if err != nil {
		w.t.Fatal(err)
	}
	w.pass(100 * time.Millisecond)
	return r
}

// health returns what a client sees of an instance; nil for nothing against it.
func (w *world) health(service, addr string) *rollcall.Health {
	w.t.Helper()
	v, err := w.reg.Lookup(w.t.Context(), service)
	if err != nil {
		w.t.Fatal(err)
	}
	i, there := v.Get(addr)
	if !there {
		w.t.Fatalf("%s is not there", addr)
	}
	if i.Healthy() != (i.Health == nil) {
		w.t.Fatalf("a report that accuses nobody: %+v", i.Health)
	}
	return i.Health
}

// becomes waits until an instance is unhealthy, or healthy, and returns how long that took.
func (w *world) becomes(service, addr string, unhealthy bool, patience time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	for w.health(service, addr) != nil != unhealthy {
		if time.Since(began) > patience {
			w.t.Fatalf("not within %v: %s is unhealthy: %t", patience, addr, unhealthy)
		}
		w.pass(100 * time.Millisecond)
	}
	return time.Since(began)
}

// puts returns how many writes etcd has had.
func (w *world) puts() int {
	n := 0
	for _, r := range w.etcd.Requests() {
		if r.Kind == "Txn" || r.Kind == "Put" || r.Kind == "DeleteRange" {
			n++
		}
	}
	return n
}
