package check

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/rollcall-io/rollcall"
)

// DefaultConcurrency is how many probes are under way at once at most: one second's worth when 10,000 instances with the default interval
// and timeout do not answer at all.
const DefaultConcurrency = 1024

// Config is what a checker needs to know. Only Self is needed.
type Config struct {
	// Self is this server's id among the instances of [rollcall.ServerService].
	Self string

	// Loopback says that this server listens on the loopback interface only, so that all that it serves is on one host: only then are
	// instances checked there. Allow are networks that are allowed although that, or Deny, forbids them. Some are never allowed.
	Loopback    bool
	Allow, Deny []netip.Prefix

	Concurrency int          // probes under way at most; 0: DefaultConcurrency
	Logger      *slog.Logger // nil: nothing is logged

	// Observe is told of each probe, from many goroutines, and must not block; nil: nobody is told.
	Observe func(Observation)

	// Lookup resolves names, as [net.Resolver.LookupNetIP] does; nil: as this machine does.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Observation is one probe that was made.
type Observation struct {
	Type   rollcall.CheckType
	Result string        // "ok", or in a few words out of a few dozen why not
	Late   time.Duration // how long after its time it began
	Took   time.Duration
}

// Checker checks, of the instances that ask for it, those that fall to this server.
type Checker struct {
	config   Config
	registry *rollcall.Registry
	probe    func(ctx context.Context, addr string, c rollcall.Check) (outcome string)
	figures  figures
}

// New makes a checker on a registry that was made with [rollcall.WithFollowAll]. It does nothing before Run.
func New(registry *rollcall.Registry, config Config) *Checker {
	config.Concurrency = cmp.Or(config.Concurrency, DefaultConcurrency)
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	p := newProber(newDialer(newRules(config.Loopback, config.Allow, config.Deny), config.Lookup))
	return &Checker{config: config, registry: registry, probe: p.probe}
}

// Run checks until ctx ends, and returns nil then, or until the registry tells no more. It is called once; when it returns, nothing of it
// runs any more. What was reported stands until the registry is closed.
func (c *Checker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	l := newLoop(ctx, c)
	defer l.working.Wait()
	defer cancel()
	told, ended := make(chan *rollcall.Overview), make(chan error, 1)
	l.working.Go(func() { ended <- c.follow(ctx, told) })
	return l.run(told, ended)
}

// follow tells of all services, until ctx ends, which is no error, or the registry does.
func (c *Checker) follow(ctx context.Context, told chan<- *rollcall.Overview) error {
	w := c.registry.WatchServices()
	defer w.Close()
	for {
		o, err := w.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case told <- o:
		case <-ctx.Done():
			return nil
		}
	}
}
