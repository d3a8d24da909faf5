package rollcallgrpc

import (
	"log/slog"
	"time"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/health"
)

// Defaults of [Serve].
const (
	DefaultDrainDelay  = time.Second      // see WithDrainDelay
	DefaultStopTimeout = 20 * time.Second // see WithStopTimeout
)

// ServeOption configures [Serve].
type ServeOption func(*serveSettings)

type serveSettings struct {
	instance    rollcall.Instance
	register    []rollcall.RegisterOption
	drainDelay  time.Duration
	stopTimeout time.Duration
	health      *health.Server
	logger      *slog.Logger
}

func newServeSettings(opts []ServeOption) serveSettings {
	s := serveSettings{
		drainDelay:  DefaultDrainDelay,
		stopTimeout: DefaultStopTimeout,
		logger:      slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

func (s *serveSettings) validate() error {
	if s.drainDelay < 0 {
		return invalid("drain delay", s.drainDelay.String(), "a drain delay is 0 or more")
	}
	if s.stopTimeout < 0 {
		return invalid("stop timeout", s.stopTimeout.String(), "a stop timeout is 0 or more")
	}
	return nil
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
// and 0 does not wait. A negative delay is an error from Serve.
func WithDrainDelay(d time.Duration) ServeOption {
	return func(s *serveSettings) { s.drainDelay = d }
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
// (Warn), and the steps of the end (Info). The default logs nothing; nil is the default.
func WithLogger(l *slog.Logger) ServeOption {
	return func(s *serveSettings) {
		if l != nil {
			s.logger = l
		}
	}
}
