// Package dns serves a registry to everything that only knows names: A, AAAA, SRV and TXT records by UDP and TCP.
//
// A name of a service stands for those of its instances that take calls, in an order by chance and weight. Answers come from the memory of
// one registry that follows everything: without etcd they stay as they are, with short TTLs, until they are too old to be told. The
// server knows its own domain and nothing else.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-io/rollcall"
)

// Defaults of [Config].
const (
	DefaultDomain   = "rollcall."
	DefaultTTL      = 5 * time.Second
	DefaultMaxStale = time.Hour
	DefaultRate     = 1000
)

// Config is what a server may be told. The zero Config will do.
type Config struct {
	Logger *slog.Logger // nil: silent

	Domain   string        // that all names end with; the default is DefaultDomain
	TTL      time.Duration // of answers, in whole seconds; the default is DefaultTTL
	MaxStale time.Duration // for as long what was last known is told without etcd; the default is DefaultMaxStale

	// Rate is how many answers a second go to one network by UDP, an IPv4 /24 or an IPv6 /56; the default is DefaultRate, and -1 is no
	// limit. Who is above it is sent to TCP by every second answer. Loopback has none: what comes from there nobody elsewhere can forge.
	Rate int

	// Sight returns which services anybody who asks may be told of: DNS knows no callers. The others are to everybody as if nobody had
	// registered them. Nil: all of them.
	Sight func() func(service string) bool

	Addrs []netip.Addr // of ns.<domain>, the name server's own name
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Domain == "" {
		c.Domain = DefaultDomain
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.MaxStale == 0 {
		c.MaxStale = DefaultMaxStale
	}
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	return c
}

// Validate returns all that is wrong, joined, each a [*rollcall.InvalidError] with the name of a field; nil when nothing is.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if _, ok := appendHost(nil, c.Domain); !ok || len(c.Domain) > maxName/2 {
		errs = append(errs, invalid("Domain", strconv.Quote(c.Domain), fmt.Sprintf("a domain is labels of at most 63 bytes with dots between them, not longer than %d in all", maxName/2)))
	}
	if c.TTL < time.Second || c.TTL%time.Second != 0 || c.TTL > 24*time.Hour {
		errs = append(errs, invalid("TTL", c.TTL, "it is 1s to 24h, in whole seconds"))
	}
	if c.MaxStale < 0 {
		errs = append(errs, invalid("MaxStale", c.MaxStale, "it is more than 0"))
	}
	if c.Rate < -1 {
		errs = append(errs, invalid("Rate", c.Rate, "it is a number of answers a second, or -1 for no limit"))
	}
	return errors.Join(errs...)
}

func invalid(field string, value any, rule string) error {
	return &rollcall.InvalidError{Field: field, Value: fmt.Sprint(value), Rule: rule}
}

// Server is the DNS of one registry.
type Server struct {
	cfg          Config
	domain       []byte // in a message, the root included
	domainLabels int
	below        []byte // instance.<domain>
	ttl          uint32
	ns           *set
	nsA, nsAAAA  *set
	now          func() time.Time
	limit        *limit

	ctx    context.Context // ends in Stop
	cancel context.CancelFunc
	wg     sync.WaitGroup // of everything that runs

	known  atomic.Bool               // it is known who is registered
	stale  atomic.Pointer[time.Time] // since when what is known is not current; nil: it is
	serial atomic.Uint32

	mu       sync.RWMutex        // of the maps
	services map[string]*service // by labels
	parents  map[string]map[*service]struct{}
	ids      map[uint32][]*service // never changed in place
	byName   map[string]*service   // those without a name in DNS, too

	conns  conns
	counts counts
}

// New makes the DNS of a registry that was made with [rollcall.WithFollowAll]. The registry stays the caller's: stop the server before it
// is closed.
func New(reg *rollcall.Registry, cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	w := reg.WatchServices()
	if _, err := w.Next(s.ended()); err != nil {
		if invalid, is := errors.AsType[*rollcall.InvalidError](err); is {
			s.cancel()
			return nil, invalid
		}
	}
	w.Close()
	s.wg.Go(func() { s.follow(reg) })
	return s, nil
}

// ended is a context for a question that is not to wait for its answer.
func (s *Server) ended() context.Context {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	return ctx
}

// newServer makes a server that does nothing by itself.
func newServer(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg.withDefaults(), now: time.Now,
		services: map[string]*service{}, parents: map[string]map[*service]struct{}{}, ids: map[uint32][]*service{}, byName: map[string]*service{},
	}
	s.domain, _ = appendHost(nil, strings.ToLower(s.cfg.Domain))
	s.domainLabels = strings.Count(strings.TrimSuffix(s.cfg.Domain, "."), ".") + 1
	s.below = append(append([]byte{byte(len(labelInstance))}, labelInstance...), s.domain...)
	s.ttl = uint32(s.cfg.TTL / time.Second)
	s.ns = single(typeNS, append(append([]byte{byte(len(labelNS))}, labelNS...), s.domain...))
	s.nsA, s.nsAAAA = &set{rtype: typeA}, &set{rtype: typeAAAA}
	for _, ip := range s.cfg.Addrs {
		of := s.nsAAAA
		if ip = ip.Unmap(); ip.Is4() {
			of = s.nsA
		}
		of.entries = append(of.entries, entry{data: appendIP(nil, ip)})
	}
	s.limit = newLimit(s.cfg.Rate)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve answers what comes by a UDP socket and a TCP listener, of which one may be nil, until [Server.Stop], and returns nil then. It may be
// called several times.
func (s *Server) Serve(udp net.PacketConn, tcp net.Listener) error {
	if !s.enter() {
		return nil
	}
	defer s.wg.Done()
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		if udp != nil {
			_ = udp.Close()
		}
		if tcp != nil {
			_ = tcp.Close()
		}
	})()
	var wg sync.WaitGroup
	if udp != nil {
		s.serveUDP(ctx, cancel, &wg, udp)
	}
	if tcp != nil {
		wg.Go(func() { cancel(s.serveTCP(ctx, tcp)) })
	}
	wg.Wait()
	if s.ctx.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// enter counts one more call of Serve, unless the server is stopping.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		s.wg.Add(1)
		return true
	}
	return false
}

// Stop closes what [Server.Serve] listens on, lets answers that are being written go out, and waits until nothing of the server runs any
// more. When ctx ends first, connections are cut off. It is idempotent.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.conns.end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wg.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		s.conns.cut()
		err = fmt.Errorf("stop DNS: %w", context.Cause(ctx))
		<-done
	}
	return err
}
