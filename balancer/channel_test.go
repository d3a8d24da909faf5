package balancer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// tb is what tests, benchmarks and properties have in common.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// channel is gRPC's side of a policy: it makes connections that are in the states that a test wants, and has the picker that
// was published last. Like gRPC it tells the policy of one thing at a time, and of a health check only after the call that asked for it.
type channel struct {
	lb.ClientConn
	*policy
	t       tb
	reducer *endpoints.Reducer
	config  *config
	checks  bool // health checks are configured: of connections that are made from now on the test tells what they say

	mu      sync.Mutex
	conns   map[string]*subConn // that are not shut down, by keyOf their addresses
	ended   []*subConn          // that are
	made    map[string]int      // how many there have been
	state   lb.State
	pickers []lb.Picker // published
	pending []func()
}

// newChannel makes a channel of a caller in a zone. All channels have the same seed, unless a test sets another before it
// shows the first view.
func newChannel(t tb, zone string, cfg Config) *channel {
	c := &channel{
		t: t, reducer: endpoints.NewReducer("svc", zone, nil),
		conns: make(map[string]*subConn), made: make(map[string]int),
	}
	c.configured(cfg)
	c.policy = newPolicy(c, 1)
	t.Cleanup(func() {
		c.Close()
		if len(c.conns) > 0 {
			t.Errorf("connections are left when the channel is closed: %v", c.addresses())
		}
	})
	return c
}

// configured sets the config that comes with the next view.
func (c *channel) configured(cfg Config) {
	c.t.Helper()
	if err := cfg.Validate(); err != nil {
		c.t.Fatal(err)
	}
	c.config = &config{Config: cfg.WithDefaults()}
}

func (c *channel) NewSubConn(addrs []resolver.Address, opts lb.NewSubConnOptions) (lb.SubConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sc := &subConn{channel: c, key: keyOf(addrs), addrs: addrs, listen: opts.StateListener, checked: c.checks}
	if c.conns[sc.key] != nil {
		c.t.Errorf("a second connection to %s is made while the first is there", sc.key)
	}
	c.conns[sc.key] = sc
	c.made[sc.key]++
	return sc, nil
}

func (c *channel) UpdateState(s lb.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	c.pickers = append(c.pickers, s.Picker)
}

// picker returns the picker that was published last, nil before the first.
func (c *channel) picker() lb.Picker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Picker
}

// connectivity returns the state that was published last.
func (c *channel) connectivity() connectivity.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.ConnectivityState
}

// published returns all pickers that were published.
func (c *channel) published() []lb.Picker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pickers
}

// conn returns the connection to an address, nil if there is none.
func (c *channel) conn(addr string) *subConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[addr]
}

// become has the connection to an address be in a state.
func (c *channel) become(addr string, s connectivity.State) {
	if sc := c.conn(addr); sc != nil {
		sc.become(s)
	}
}

// deliver tells the policy what gRPC tells it after the call that it is in.
func (c *channel) deliver() {
	for len(c.pending) > 0 {
		next := c.pending[0]
		c.pending = c.pending[1:]
		next()
	}
}

// connect has all connections that are wanted be made, but those to some.
func (c *channel) connect(not ...string) {
	for _, addr := range c.addresses() {
		if sc := c.conn(addr); sc != nil && sc.state != connectivity.Ready && !slices.Contains(not, addr) {
			sc.become(connectivity.Ready)
		}
	}
}

// addresses returns the addresses to which there are connections, in whatever state, in order.
func (c *channel) addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.conns))
}

// show has the policy see a view.
func (c *channel) show(v *rollcall.View) {
	if view, changed := c.reducer.Apply(v.Updates); changed {
		c.update(view.State())
	}
}

// again has the policy see the newest view once more, as when the config changes.
func (c *channel) again() {
	view, _ := c.reducer.Apply(nil)
	c.update(view.State())
}

func (c *channel) update(s resolver.State) {
	c.t.Helper()
	err := c.UpdateClientConnState(lb.ClientConnState{ResolverState: s, BalancerConfig: c.config})
	if want := len(c.policy.members) == 0; want != (err == lb.ErrBadResolverState) || !want && err != nil {
		c.t.Fatalf("of a list of %d instances the resolver is told: %v", len(c.policy.members), err)
	}
	c.deliver()
}

// quiet waits until the policy has published what it has gathered.
func (c *channel) quiet() {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

// call is one pick.
type call struct {
	addr string
	conn *subConn
	done func(lb.DoneInfo)
}

// succeed ends a call well.
func (c call) succeed() { c.end(lb.DoneInfo{BytesReceived: true}) }

func (c call) end(info lb.DoneInfo) {
	if c.done != nil {
		c.done(info)
	}
}

// pick asks a picker.
func pick(ctx context.Context, from lb.Picker) (call, error) {
	if from == nil {
		return call{}, lb.ErrNoSubConnAvailable
	}
	r, err := from.Pick(lb.PickInfo{Ctx: ctx})
	if err != nil {
		return call{}, err
	}
	sc := r.SubConn.(*subConn)
	return call{sc.key, sc, r.Done}, nil
}

// pick makes one call. It has to go to a connection that stands.
func (c *channel) pick(ctx context.Context) call {
	c.t.Helper()
	made, err := pick(ctx, c.picker())
	if err != nil {
		c.t.Fatal(err)
	}
	if !made.conn.callable() {
		c.t.Fatalf("a call goes to %s, which is %v, healthy: %v", made.addr, made.conn.state, made.conn.healthy)
	}
	return made
}

// picks counts where n picks go. Each ends at once, and well.
func (c *channel) picks(n int) map[string]int {
	c.t.Helper()
	return c.picksWith(c.t.Context(), n)
}

func (c *channel) picksWith(ctx context.Context, n int) map[string]int {
	c.t.Helper()
	counts := make(map[string]int)
	for range n {
		made := c.pick(ctx)
		made.succeed()
		counts[made.addr]++
	}
	return counts
}

// tableOf returns the table that a picker goes by.
func tableOf(p lb.Picker) (*table, bool) {
	switch p := p.(type) {
	case *table:
		return p, true
	case *turns:
		return (*table)(p), true
	}
	return nil, false
}

func mustTable(p lb.Picker) *table {
	t, _ := tableOf(p)
	return t
}

// shares returns which part of the calls goes to each address by the account of the picker.
func (c *channel) shares() map[string]float64 {
	c.t.Helper()
	t, ok := tableOf(c.picker())
	if !ok {
		c.t.Fatalf("nobody can be called: %v", c.picker())
	}
	shares := make(map[string]float64)
	begin := uint32(0)
	for n, e := range t.entries {
		share := 1 / float64(len(t.entries))
		if !t.even {
			share = float64(t.ends[n]-begin) / (1 << 32)
			begin = t.ends[n]
		}
		shares[e.sc.(*subConn).key] = share
	}
	return shares
}

// subConn is a connection of a channel.
type subConn struct {
	lb.SubConn
	channel *channel
	key     string
	addrs   []resolver.Address
	listen  func(lb.SubConnState)
	state   connectivity.State
	wants   bool // Connect was called since it became idle

	checked bool                  // a health check is configured
	health  func(lb.SubConnState) // who is told of it; nil while nobody is
	healthy bool                  // what was told last
}

// callable reports whether gRPC could send a call to the connection.
func (sc *subConn) callable() bool { return sc.state == connectivity.Ready && sc.healthy }

// become has the connection be in a state, and the policy told of it.
func (sc *subConn) become(s connectivity.State) {
	var err error
	if s == connectivity.TransientFailure {
		err = errors.New("connection refused by " + sc.key)
	}
	if sc.state != connectivity.Shutdown { // of which the policy may hear what was under way before
		sc.state, sc.wants, sc.health, sc.healthy = s, false, nil, false
	}
	sc.listen(lb.SubConnState{ConnectivityState: s, ConnectionError: err})
	sc.channel.deliver()
}

// tell has the health check say something.
func (sc *subConn) tell(s connectivity.State) {
	var err error
	if s == connectivity.TransientFailure {
		err = errors.New(sc.key + " does not feel well")
	}
	if sc.health != nil {
		sc.healthy = s == connectivity.Ready
		sc.health(lb.SubConnState{ConnectivityState: s, ConnectionError: err})
		sc.channel.deliver()
	}
}

func (sc *subConn) Connect() { sc.wants = true }

func (sc *subConn) Shutdown() {
	c := sc.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	sc.state = connectivity.Shutdown
	if c.conns[sc.key] == sc {
		delete(c.conns, sc.key)
	}
	c.ended = append(c.ended, sc)
}

// RegisterHealthListener has, without a health check, the listener told once that all is well.
func (sc *subConn) RegisterHealthListener(f func(lb.SubConnState)) {
	if sc.state != connectivity.Ready {
		return
	}
	sc.health = f
	if sc.checked || f == nil {
		return
	}
	sc.channel.pending = append(sc.channel.pending, func() {
		if sc.state == connectivity.Ready {
			sc.tell(connectivity.Ready)
		}
	})
}
