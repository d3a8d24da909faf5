package rollcall

import (
	"log/slog"
	"os"
	"time"
)

// zoneVariable is the environment variable that names the zone of a process whose program does not.
const zoneVariable = "ROLLCALL_ZONE"

// Option configures a registry.
type Option func(*settings)

type settings struct {
	layout      layout
	logger      *slog.Logger // through the relay
	relay       *relay
	suspicion   time.Duration
	snapshotDir string
	zone        *string // nil: as the environment says
	followAll   bool
	garbage     *garbage
	counts      *counts
	trace       TraceFunc // nil: nobody is told
	err         error     // of the first bad option; every call on the registry returns it
}

func newSettings(opts []Option) settings {
	s := settings{logger: slog.New(slog.DiscardHandler), suspicion: DefaultSuspicion, garbage: &garbage{}, counts: &counts{}}
	WithPrefix(DefaultPrefix)(&s)
	for _, opt := range opts {
		if opt != nil {
			opt(&s)
		}
	}
	if s.zone == nil {
		s.setZone(zoneVariable, os.Getenv(zoneVariable))
	}
	if s.followAll && s.layout.flat && s.err == nil {
		s.err = invalid("prefix", "", "everything can be followed only under a prefix")
	}
	s.relay = newRelay()
	s.logger = slog.New(relayed{s.relay, s.logger.Handler()})
	return s
}

func (s *settings) setLayout(l layout, err error) {
	s.layout = l
	if s.err == nil {
		s.err = err
	}
}

// WithPrefix keeps the registry under another prefix than [DefaultPrefix]. One prefix is one registry: what is
// registered under another is not seen.
//
// With the prefix "" an instance's key is <service>/<id>, the layout of grpc-go's old naming package and of etcd's
// client/v3/naming; then no service may be called "rollcall", and [Registry.Services] is refused, because the keys of
// others lie beside ours. Of WithPrefix and [WithDirectory] the last one counts.
func WithPrefix(prefix string) Option {
	return func(s *settings) { s.setLayout(prefixLayout(prefix)) }
}

// WithDirectory keeps the instances of a service directly under dir, at <dir><service>/<id>: the layout of etcd's
// client/v3/naming for targets with slashes. Dir is taken as it is, and is "" or ends in "/"; "" is WithPrefix("").
func WithDirectory(dir string) Option {
	return func(s *settings) { s.setLayout(flatLayout(dir)) }
}

// WithLogger gives the registry a logger. The default logs nothing; nil is the default.
//
// Info is for a timeline (a registration or its loss), Warn for what will heal by itself (etcd out of reach). The handler
// is called on a goroutine of its own, one record at a time. When it blocks, up to 1,024 records wait for it and further
// ones are dropped and counted; nothing else is held up. Its Enabled alone is asked at once, and must not block.
// [Registry.Close] waits for the handler, up to a second.
func WithLogger(l *slog.Logger) Option {
	return func(s *settings) {
		if l == nil {
			l = slog.New(slog.DiscardHandler)
		}
		s.logger = l
	}
}

// WithSuspicion sets how long an expiry that is doubted is not believed. When within one TTL more than half of a service's
// instances, and at least three, expire without a goodbye, or when etcd's history breaks as by a wipe or a restore, it is
// more likely that the registry failed than that all of them did: they stay in the view, marked [Instance.Suspect], until
// they register again, say goodbye, or this time is over.
//
// The default is [DefaultSuspicion]; at most one hour; 0 believes everything.
func WithSuspicion(d time.Duration) Option {
	return func(s *settings) {
		s.suspicion = d
		if s.err == nil && (d < 0 || d > maxSuspicion) {
			s.err = invalid("suspicion", d, "a suspicion is 0 (believe everything) to 1h")
		}
	}
}

// WithSnapshotDir keeps the last known view of every followed service in a directory, one file each, so that a process
// that starts while etcd is out of reach has something to go by: views that are stale from their first moment, and say so.
// When etcd answers, its answer is compared with them: a store that was wiped meanwhile does not blank the process.
//
// The directory is made if it is not there; several processes may share it. Files are written whole or not at all and
// carry a checksum; what cannot be read or written is logged and done without. The default is "": no snapshots.
func WithSnapshotDir(dir string) Option {
	return func(s *settings) { s.snapshotDir = dir }
}

// WithZone names the zone that this process runs in: callers prefer instances of their own zone, and an instance that this
// registry registers without a zone gets it. "" says that it runs in none. A zone is at most 253 bytes of UTF-8 without
// spaces and control characters.
//
// The default is the environment variable ROLLCALL_ZONE. It is not looked at when the option is given.
func WithZone(zone string) Option {
	return func(s *settings) { s.setZone("zone", zone) }
}

// setZone takes a zone that the named setting has.
func (s *settings) setZone(setting, zone string) {
	s.zone = &zone
	if zone == "" || s.err != nil {
		return
	}
	s.err = validateLabel(setting, zone)
}

// WithFollowAll makes the registry follow all services under its prefix, from the start and by one watch, and answer from memory:
// [Registry.Lookup] and [Registry.Services] do not ask etcd, watchers of any service have their first view at once, and
// [Registry.WatchServices] tells of all of them. It is for programs that serve the registry to others. A Lookup may so be a
// moment old: see [Registry.Reach]. Without a prefix it is refused.
func WithFollowAll() Option {
	return func(s *settings) { s.followAll = true }
}

// RegisterOption configures one registration.
type RegisterOption func(*registerSettings)

type registerSettings struct {
	ttl   time.Duration
	token string
}

func registerSettingsOf(opts []RegisterOption) registerSettings {
	s := registerSettings{ttl: DefaultTTL}
	for _, opt := range opts {
		if opt != nil {
			opt(&s)
		}
	}
	return s
}

// WithTTL sets how long the instance stays visible after its process died without a goodbye: whole seconds, at least
// [MinTTL] and at most [MaxTTL]; the default is [DefaultTTL]. A heartbeat goes out every third of it. Registrations of one registry with
// equal TTLs share a lease.
func WithTTL(ttl time.Duration) RegisterOption {
	return func(s *registerSettings) { s.ttl = ttl }
}

// WithToken lets whoever knows the token go on with the registration, in another process if need be: see [Registry.Resume]. It is a
// secret of the caller's, at least 16 bytes that nobody can guess; in etcd there is its SHA-256 only. By default, and with "", a
// registration cannot be resumed.
func WithToken(token string) RegisterOption {
	return func(s *registerSettings) { s.token = token }
}

// WatchOption configures one watcher.
type WatchOption func(*Watcher)

// WithLinearizable makes the watcher's first Next read from etcd, so that the first view contains every write that was
// acknowledged to anybody before. Without it the first view may be one that another watcher of the service already has,
// a moment old.
func WithLinearizable() WatchOption {
	return func(w *Watcher) { w.linearizable = true }
}
