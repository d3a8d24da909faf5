// Package xds serves a registry to gRPC clients of every language, and to Envoy, by the protocol that they all speak: listeners, routes,
// clusters and endpoints on one aggregated stream, state of the world or delta.
//
// Any name that a service can have is answered at once, with an empty assignment if nobody is registered: calls fail fast, and the first
// instance arrives by push. What a client is told is encoded once, whoever is told, and only what somebody asked for. All of it comes from
// the memory of one registry that follows everything: without etcd nothing of it changes.
package xds

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// Defaults of [Config].
const (
	DefaultMaxStreams       = 10_000
	DefaultMaxSubscriptions = 1_000
	DefaultMaxTotal         = 500_000
	DefaultMaxStreamAge     = 30 * time.Minute
	DefaultMaxWindow        = 250 * time.Millisecond
)

// Config is what a server may be told. The zero Config will do.
type Config struct {
	Logger *slog.Logger // nil: silent

	// Sight returns what a caller may be told of: which services, and a word that is the same for all who may be told of the same. A
	// service that he may not be told of is to him one that nobody registered. Nil: everything.
	Sight func(context.Context) (key string, sees func(service string) bool)

	// Author returns who a caller is; "" when that is not known. Nil: nobody is known.
	Author func(context.Context) string

	MaxStreams       int           // at a time; the default is DefaultMaxStreams
	MaxSubscriptions int           // names of each type on one stream; the default is DefaultMaxSubscriptions
	MaxTotal         int           // names on all streams together; the default is DefaultMaxTotal
	MaxStreamAge     time.Duration // after about so long a client has to come back, maybe to another server; the default is DefaultMaxStreamAge
	MaxWindow        time.Duration // for at most so long changes of a service are gathered; the default is DefaultMaxWindow
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Author == nil {
		c.Author = func(context.Context) string { return "" }
	}
	if c.Sight == nil {
		c.Sight = func(context.Context) (string, func(string) bool) { return "", func(string) bool { return true } }
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = DefaultMaxStreams
	}
	if c.MaxSubscriptions <= 0 {
		c.MaxSubscriptions = DefaultMaxSubscriptions
	}
	if c.MaxTotal <= 0 {
		c.MaxTotal = DefaultMaxTotal
	}
	if c.MaxStreamAge <= 0 {
		c.MaxStreamAge = DefaultMaxStreamAge
	}
	if c.MaxWindow <= 0 {
		c.MaxWindow = DefaultMaxWindow
	}
	return c
}

// Server is the xDS of one registry.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer

	reg *rollcall.Registry
	cfg Config

	ctx    context.Context // ends in EndStreams
	cancel context.CancelFunc
	wg     sync.WaitGroup // of what runs, streams included

	mu       sync.Mutex // taken after a stream's; never together with a service's
	closed   bool       // no streams any more
	known    bool       // it is known who is registered
	views    map[string]*rollcall.View
	services map[string]*service // that somebody asked for
	due      map[*service]time.Time
	streams  map[*stream]struct{}
	kick     chan struct{} // has capacity 1: something became due
	news     chan struct{} // closed when a client acknowledged something, or something was published; nil while nobody waits for that

	seq    atomic.Uint64 // of the newest resource
	subs   atomic.Int64  // subscriptions, on all streams
	counts struct {
		responses, bytes, encodings, encoded, refusals, turnedAway atomic.Int64
	}
}

var (
	errStopping = status.Error(codes.Unavailable, "the server is stopping: go on at another one, or at this one when it is back")
	errOld      = status.Error(codes.Unavailable, "the stream is as old as streams get: begin another one")
)

// New makes the xDS of a registry that was made with [rollcall.WithFollowAll]. The registry stays the caller's. Close the server before it.
func New(reg *rollcall.Registry, cfg Config) *Server {
	s := newServer(reg, cfg)
	s.wg.Go(s.follow)
	s.wg.Go(s.publish)
	return s
}

// newServer makes a server that does nothing by itself.
func newServer(reg *rollcall.Registry, cfg Config) *Server {
	s := &Server{
		reg: reg, cfg: cfg.withDefaults(),
		views: map[string]*rollcall.View{}, services: map[string]*service{}, due: map[*service]time.Time{},
		streams: map[*stream]struct{}{}, kick: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Register adds the service to a gRPC server. One whose codec is that of [NewCodec], or like it, sends responses without copies of them.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discovery.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// EndStreams ends all streams, so that their clients go to another server, and takes no new ones. It is the first thing to do when a
// server stops, and idempotent.
func (s *Server) EndStreams() {
	s.mu.Lock()
	s.closed = true
	streams := s.streamsLocked()
	s.mu.Unlock()
	s.cancel()
	for _, st := range streams {
		st.end(errStopping)
	}
}

// Close ends all streams and waits until nothing of the server runs any more. A stream whose client does not read ends with the gRPC
// server: stop that first. It is idempotent.
func (s *Server) Close() {
	s.EndStreams()
	s.wg.Wait()
}

// Stats is what the server has done so far, for metrics.
type Stats struct {
	Streams       int   // open now
	Subscriptions int64 // names on them, counted once for each
	Services      int   // that somebody asked for now
	Responses     int64 // sent
	Bytes         int64 // in them
	Encodings     int64 // resources encoded; to how many streams each went does not count
	EncodedBytes  int64 // in those
	Refusals      int64 // responses that a client refused
	TurnedAway    int64 // streams that a limit did not let in, or ended
}

// Stats returns what the server has done so far.
func (s *Server) Stats() Stats {
	stats := Stats{
		Subscriptions: s.subs.Load(),
		Responses:     s.counts.responses.Load(), Bytes: s.counts.bytes.Load(),
		Encodings: s.counts.encodings.Load(), EncodedBytes: s.counts.encoded.Load(),
		Refusals: s.counts.refusals.Load(), TurnedAway: s.counts.turnedAway.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Streams, stats.Services = len(s.streams), len(s.services)
	return stats
}

func (s *Server) streamsLocked() []*stream {
	list := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		list = append(list, st)
	}
	return list
}

// tell wakes those who wait for news.
func (s *Server) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news != nil {
		close(s.news)
		s.news = nil
	}
}

// listenLocked returns a channel that is closed when there is news.
func (s *Server) listenLocked() <-chan struct{} {
	if s.news == nil {
		s.news = make(chan struct{})
	}
	return s.news
}
