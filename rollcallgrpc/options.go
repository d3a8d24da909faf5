package rollcallgrpc

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/health"
)

// Defaults of [Serve].
const (
	DefaultDrainDelay   = time.Second      // see WithDrainDelay
	DefaultCountedDelay = 5 * time.Second  // see WithCalls
	DefaultStopTimeout  = 20 * time.Second // see WithStopTimeout
)

// ServeOption configures [Serve] and [ServeWith].
type ServeOption func(*serveSettings)

type serveSettings struct {
	instance    rollcall.Instance
	register    []rollcall.RegisterOption
	drainDelay  *time.Duration // nil means the default
	stopTimeout time.Duration
	calls       *Calls
	warmUp      func(context.Context) error
	onReady     func(*rollcall.Registration)
	onServing   func(bool)
	signals     []os.Signal
	health      *health.Server
	logger      *slog.Logger
}

func newServeSettings(opts []ServeOption) serveSettings {
	s := serveSettings{
		stopTimeout: DefaultStopTimeout,
		logger:      slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

func (s *serveSettings) validate() error {
	if d := s.mostDrainDelay(); d < 0 {
		return invalid("drain delay", d.String(), "a drain delay is 0 or more")
	}
	if s.stopTimeout < 0 {
		return invalid("stop timeout", s.stopTimeout.String(), "a stop timeout is 0 or more")
	}
	return nil
}

// mostDrainDelay is how long callers have to hear that the server drains.
func (s *serveSettings) mostDrainDelay() time.Duration {
	switch {
	case s.drainDelay != nil:
		return *s.drainDelay
	case s.calls != nil:
		return DefaultCountedDelay
	}
	return DefaultDrainDelay
}

// WithInstance says what is registered: zone, version, weight, metadata, an address. Addr defaults to the listener's
// address, and must be set when that is none to dial, as [::]:50051 is. The default is an instance with that address
// and nothing else.
func WithInstance(inst rollcall.Instance) ServeOption {
	return func(s *serveSettings) { s.instance = inst }
}

// WithTTL sets the registration's TTL, see [rollcall.WithTTL]; the default is [rollcall.DefaultTTL].
func WithTTL(ttl time.Duration) ServeOption {
	return func(s *serveSettings) { s.register = []rollcall.RegisterOption{rollcall.WithTTL(ttl)} }
}

// WithDrainDelay sets how long the server goes on taking calls after callers were told that it drains, so that all have
// heard it before it refuses any. The default is [DefaultDrainDelay]; less than 200 ms risks calls on a busy network,
// and 0 does not wait, nor tell that it drains. With [WithCalls] it is the longest that the server waits. A negative delay is an
// error from Serve.
func WithDrainDelay(d time.Duration) ServeOption {
	return func(s *serveSettings) { s.drainDelay = &d }
}

// WithCalls has Serve wait, at the end, until callers have ceased to call: until no new call has begun for 250 ms, but for no longer
// than the drain delay, which is [DefaultCountedDelay] then unless [WithDrainDelay] says otherwise. A server whose callers hear of
// it at once leaves sooner so than after a fixed delay, and one whose callers are slow to hear later. The calls are counted by
// what c gives the server: [Calls.ServerOptions] or [Calls.Handler]; if neither is used, Serve finds that no calls come. Nil is
// the default: a fixed delay.
func WithCalls(c *Calls) ServeOption {
	return func(s *serveSettings) { s.calls = c }
}

// WithWarmUp sets what is to be done before the server takes calls: fill caches, open connections. The listener is open then, and
// connections to it wait; nothing is served and nothing registered. Its context ends when the server is to leave. An error
// ends Serve, which returns it. Nil is the default.
func WithWarmUp(f func(ctx context.Context) error) ServeOption {
	return func(s *serveSettings) { s.warmUp = f }
}

// WithReady sets what is told, once, that the instance is registered and that a watch of this registry has seen it, so that
// callers have heard of it too: a rolling deploy may stop the next old server. Where the watch does not show it within 2 s it is
// told all the same. The registration is for readiness probes, by [rollcall.Registration.Status]; Serve looks after its end. The
// function must return before Serve can. Nil is the default.
func WithReady(f func(*rollcall.Registration)) ServeOption {
	return func(s *serveSettings) { s.onReady = f }
}

// WithServing sets what is told whether the server is to be called: true when it begins to serve, before it is registered; false when it
// is to leave, before it drains. It is for probes of servers without gRPC's health service. Nil is the default.
func WithServing(f func(serving bool)) ServeOption {
	return func(s *serveSettings) { s.onServing = f }
}

// WithSignals has Serve leave on a signal, by default SIGTERM or SIGINT, as it does when its context ends; a second signal ends all
// waiting, and the server stops at once. As long as Serve runs these signals do not end the process. Without this option Serve
// leaves signals alone.
func WithSignals(signals ...os.Signal) ServeOption {
	if len(signals) == 0 {
		signals = []os.Signal{syscall.SIGTERM, os.Interrupt}
	}
	return func(s *serveSettings) { s.signals = signals }
}

// WithStopTimeout sets how long calls that are under way may take to finish before they are cut off. The default is
// [DefaultStopTimeout]; 0 cuts them off at once. A negative timeout is an error from Serve.
func WithStopTimeout(d time.Duration) ServeOption {
	return func(s *serveSettings) { s.stopTimeout = d }
}

// WithHealth gives Serve the server's health service. Serve registers it if no health service is registered, and sets
// its overall status, that of the name ""; all other names are the caller's until the server stops, when Serve sets every
// status to NOT_SERVING for good ([health.Server.Shutdown]).
//
// By default, and with nil, Serve makes a health service of its own, which also has a status for each of the server's
// gRPC services, unless one is registered: that one is left alone.
func WithHealth(h *health.Server) ServeOption {
	return func(s *serveSettings) { s.health = h }
}

// WithLogger gives Serve a logger for what it cannot return: a registration that etcd refuses and that is tried again
// (Warn), that the server is ready and the steps of its end (Info), and what did not go well with them (Warn). The default logs nothing; nil is the default.
func WithLogger(l *slog.Logger) ServeOption {
	return func(s *serveSettings) {
		if l != nil {
			s.logger = l
		}
	}
}
