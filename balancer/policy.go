package balancer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	_ "google.golang.org/grpc/health" // client health checking, for those who configure it
	"google.golang.org/grpc/serviceconfig"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// Name is the policy's name in a service config.
const Name = endpoints.PolicyName

func init() { lb.Register(builder{}) }

// process makes the choice of a subset differ between processes, and not within one.
var process = rand.Uint64()

type builder struct{}

func (builder) Name() string { return Name }

func (builder) Build(cc lb.ClientConn, opts lb.BuildOptions) lb.Balancer {
	p := newPolicy(cc, process)
	p.target = opts.Target.Endpoint()
	return p
}

// config is a Config that gRPC keeps for us.
type config struct {
	serviceconfig.LoadBalancingConfig
	Config
}

// MarshalJSON is for policies that have this one as a child and hand its config on as text.
func (c *config) MarshalJSON() ([]byte, error) { return c.Config.MarshalJSON() }

func (builder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	c, err := rollcall.ParseBalancing(text)
	if err != nil {
		return nil, err
	}
	return &config{Config: c.WithDefaults()}, nil
}

// policy balances one channel. gRPC calls it one call at a time, but for its timer, the ends of calls, and health checks that
// outlive Close: hence a lock of its own. Locks are taken in the order gRPC's balancers, mu, gRPC's channel.
type policy struct {
	cc    lb.ClientConn
	seed  uint64
	order *atomic.Uint64

	mu     sync.Mutex
	closed bool
	config *config // nil before the first
	target string  // for texts
	zone   string  // the caller's own

	view      *endpoints.View // applied last; nil before the first and when the endpoints came plain
	link      *endpoints.Link // by which views come past gRPC; nil: there is none
	listed    bool            // a list of instances was applied
	members   map[string]*member
	groups    []*group // in the order of their versions; the one of all others is the last
	serving   int      // members that serve
	last      bool     // nobody serves: those that drain are called
	choice    bool     // which members are wanted is to be chosen again
	round     uint64   // of choosing
	wanted    int      // connections
	failing   int      // of them
	usable    int      // of them
	err       error    // of the last connection that failed, or of the resolver
	ramping   []*member
	ejected   []*conn
	said      connectivity.State // published last
	told      string             // why no call can be made, as published last
	table     *table             // published, or nil while nothing can be called
	serial    uint64             // of the table
	tabled    int                // connections of the table that can be used
	stale     bool               // the table is not what it would be now
	bad       bool               // the table has lost a connection since it was published
	shares    []float64          // room for building one
	entries   []*conn            // likewise
	built     time.Time
	gathering time.Duration // from then on
	timer     *time.Timer
	timerDue  time.Time
}

func newPolicy(cc lb.ClientConn, seed uint64) *policy {
	p := &policy{
		cc: cc, seed: seed, order: &atomic.Uint64{}, members: make(map[string]*member),
		zone: os.Getenv("ROLLCALL_ZONE"),
	}
	p.order.Store(rand.Uint64()) // callers that start together do not call in step
	return p
}

// UpdateClientConnState takes over what the resolver found.
func (p *policy) UpdateClientConnState(s lb.ClientConnState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	cfg, ok := s.BalancerConfig.(*config)
	if !ok {
		cfg = defaultConfig
	}
	view, ours := endpoints.Of(s.ResolverState)
	zone := p.zone
	if sent := endpoints.Sent(s.ResolverState); sent != nil { // where the caller is does not depend on the endpoints
		zone, p.target = sent.Zone, sent.Target
	}
	p.configure(cfg, zone)
	switch {
	case !ours:
		p.join(nil)
		p.view = nil
		p.replaceAll(plain(s.ResolverState.Endpoints, p.members))
	default:
		p.join(endpoints.LinkOf(s.ResolverState))
		p.apply(view)
	}
	p.settleAll()
	if len(p.members) == 0 {
		return lb.ErrBadResolverState
	}
	return nil
}

// Take takes over a view that comes by a link, in between gRPC's calls.
func (p *policy) Take(link *endpoints.Link, view *endpoints.View) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.link != link {
		return false
	}
	p.apply(view)
	p.settleAll()
	return true
}

// join has views come by a link from now on; nil: by gRPC only.
func (p *policy) join(link *endpoints.Link) {
	if p.link == link {
		return
	}
	if p.link != nil {
		p.link.Leave(p)
	}
	if link != nil {
		link.Join(p)
	}
	p.link = link
}

// apply makes the members those of a view.
func (p *policy) apply(view *endpoints.View) {
	switch {
	case p.view == nil && len(p.members) > 0: // they came plain
		p.replaceAll(listed(view.Instances))
	case view.OlderThan(p.view): // gRPC's is not as new as what came by the link
		return
	default:
		p.applyUpdates(view.Since(p.view))
	}
	p.view = view
}

// settleAll is settle after another list.
func (p *policy) settleAll() {
	p.listed = true
	p.settleLast()
	p.choice = true
	p.settle()
}

var defaultConfig = &config{Config: Config{}.WithDefaults()}

// configure takes over a config and the caller's zone. What depends on them is arranged anew.
func (p *policy) configure(cfg *config, zone string) {
	if cfg == p.config && zone == p.zone {
		return
	}
	if p.config != nil && p.config != cfg {
		p.askAgain()
	}
	same := p.config != nil && p.zone == zone && reflect.DeepEqual(p.config.Config, cfg.Config)
	p.config, p.zone = cfg, zone
	if same {
		return
	}
	p.groups = nil
	for version, percent := range cfg.Split {
		p.groups = append(p.groups, &group{version: version, percent: percent})
	}
	slices.SortFunc(p.groups, func(a, b *group) int { return strings.Compare(a.version, b.version) })
	rest := &group{percent: 100}
	for _, g := range p.groups {
		rest.percent = max(rest.percent-g.percent, 0)
	}
	p.groups = append(p.groups, rest)
	for _, g := range p.groups {
		g.order.Store(rand.Uint64())
	}
	if cfg.Ejection.Disabled {
		p.pardon()
	}
	p.rearrange()
}

// askAgain asks for everybody's health: gRPC does not tell whether its own part of the service config has changed.
func (p *policy) askAgain() {
	for _, m := range p.members {
		if m.conn != nil && m.conn.state == connectivity.Ready {
			p.askHealth(m.conn)
		}
	}
}

// ResolverError is told by gRPC what the resolver met. Who knows instances does not mind.
func (p *policy) ResolverError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.members) > 0 {
		return
	}
	p.err = err
	p.settle()
}

// ExitIdle connects what is not connected. Nothing stays idle here by itself.
func (p *policy) ExitIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		if !p.closed && m.cell != nil && m.conn != nil && m.conn.state == connectivity.Idle {
			m.conn.sc.Connect()
		}
	}
}

// Close ends everything. Calls under way finish; what gRPC tells us later is ignored.
func (p *policy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.join(nil)
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, m := range p.members {
		if m.conn != nil {
			m.conn.usable.Store(false)
			m.conn.sc.Shutdown()
		}
	}
}

// UpdateSubConnState is not called: connections have listeners.
func (p *policy) UpdateSubConnState(lb.SubConn, lb.SubConnState) {}

// nothing returns why no call can be made.
func (p *policy) nothing() error {
	switch {
	case len(p.members) == 0 && p.listed:
		return fmt.Errorf("rollcall: %s has no instances", p.target)
	case len(p.members) == 0:
		return fmt.Errorf("rollcall: %s: %w", p.target, plainError(p.err))
	case p.err != nil:
		return fmt.Errorf("rollcall: %s: none of %d instances can be connected to; the last one tried: %v", p.target, p.wanted, p.err)
	}
	return fmt.Errorf("rollcall: %s: none of %d instances can be called", p.target, len(p.members))
}
