// Package grpcapi serves rollcall.v1 over gRPC: who is registered, and what operators decide. What is read comes from the memory of one
// registry that follows everything, also while etcd is out of reach, and then says how old it is.
package grpcapi

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/history"
)

// MaxRequest is the size of the largest request, in bytes: a policy, the largest thing there is, is 16 KiB of JSON.
const MaxRequest = 64 << 10

// How long calls wait by themselves, whatever the deadline that came with them.
const (
	patience = 10 * time.Second       // for etcd's first answer, and for its answers to writes
	catchUp  = 2 * time.Second        // for what somebody has written to come back from etcd
	linger   = 30 * time.Second       // how long a hub outlives its last stream: clients come back
	burst    = 10 * time.Millisecond  // how long a hub gathers changes after each that it told, at least
	perFan   = 10 * time.Microsecond  // and for each of its streams
	restMost = 250 * time.Millisecond // and at most
)

// Config is what an API may be told. The zero Config will do.
type Config struct {
	Logger *slog.Logger // nil: silent

	// Author returns who makes a call; "" when that is not known. What operators decide is then signed so, whatever they say themselves.
	// Nil: nobody is known.
	Author func(context.Context) string

	// Sight returns what a caller may be told of: which services, and a word that is the same for all who may be told of the same. Lists
	// leave the others out. Nil: everything.
	Sight func(context.Context) (key string, sees func(service string) bool)

	// Verbs returns what a caller may do with a service, or with "" with any at all: of "read", "register", "steer" and "admin". Nil:
	// everybody may do everything.
	Verbs func(ctx context.Context, service string) []string

	// History is for the HistoryService; nil: there is none. It stays the caller's.
	History *history.History

	// Operations is for the OperationsService.
	Operations Operations
}

// API is the services of rollcall.v1 on one registry.
type API struct {
	reg    *rollcall.Registry
	logger *slog.Logger
	author func(context.Context) string
	sight  func(context.Context) (key string, sees func(service string) bool)

	verbs func(ctx context.Context, service string) []string

	registration *registration
	operations   *operations
	events       *events
	tags         tags

	ctx    context.Context // ends in Close
	cancel context.CancelCauseFunc
	ending sync.Once
	wg     sync.WaitGroup // of the hubs

	mu       sync.Mutex            // taken before a hub's
	closed   bool                  // no hubs are made any more
	hubs     map[topic]*hub        // with streams, or a moment ago
	watchers map[*watcher]struct{} // their streams
	counts   struct {              // see Stats
		streams, encodings, bytes atomic.Int64
	}
}

// New makes the API of a registry that was made with [rollcall.WithFollowAll]. The registry stays the caller's. Close the API before it.
func New(reg *rollcall.Registry, cfg Config) *API {
	a := &API{reg: reg, logger: cfg.Logger, author: cfg.Author, sight: cfg.Sight, hubs: map[topic]*hub{}, watchers: map[*watcher]struct{}{}, tags: tags{of: map[string]*tag{}}}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	if a.author == nil {
		a.author = func(context.Context) string { return "" }
	}
	if a.sight == nil {
		a.sight = func(context.Context) (string, func(string) bool) { return "", func(string) bool { return true } }
	}
	if a.verbs = cfg.Verbs; a.verbs == nil {
		a.verbs = func(context.Context, string) []string { return []string{"read", "register", "steer", "admin"} }
	}
	a.registration = newRegistration(reg, a.logger)
	a.events = &events{api: a, kept: cfg.History}
	a.operations = &operations{api: a, facts: cfg.Operations.withDefaults()}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	return a
}

// Register adds the services to a server, which needs [API.ServerOptions].
func (a *API) Register(s grpc.ServiceRegistrar) {
	rollcallv1.RegisterDiscoveryServiceServer(s, &discovery{api: a})
	rollcallv1.RegisterControlServiceServer(s, &control{api: a})
	rollcallv1.RegisterRegistrationServiceServer(s, a.registration)
	rollcallv1.RegisterOperationsServiceServer(s, a.operations)
	rollcallv1.RegisterHistoryServiceServer(s, a.events)
}

// ServerOptions returns what a server needs to serve the API: a codec that sends what was encoded for many streams as it is, the limit of
// requests, and interceptors that give errors their codes and keep a panic to the call that it happened in.
func (a *API) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(MaxRequest),
		grpc.ChainUnaryInterceptor(a.unary),
		grpc.ChainStreamInterceptor(a.stream),
	}
}

// Stats is what the API has done so far, for metrics.
type Stats struct {
	Streams   int64 // watch streams that are open now
	Encodings int64 // messages encoded for watch streams; how many streams each went to does not count
	Bytes     int64 // in them
}

// Stats returns what the API has done so far.
func (a *API) Stats() Stats {
	return Stats{Streams: a.counts.streams.Load(), Encodings: a.counts.encodings.Load(), Bytes: a.counts.bytes.Load()}
}

// EndStreams ends all watch streams and sessions, so that their clients go to another server; other calls are answered as before. It is the
// first thing to do when a server stops, and idempotent.
func (a *API) EndStreams() {
	a.ending.Do(func() {
		a.mu.Lock()
		a.closed = true
		for _, h := range a.hubs {
			h.stopIdle()
		}
		a.mu.Unlock()
		a.cancel(errStopping)
		a.registration.endSessions()
	})
}

// Close ends all streams and waits until nothing of the API runs any more but calls, which are the server's: after the last of them, if that
// can be. What was registered stays for a TTL, for the programs to come back in. It is idempotent.
func (a *API) Close() {
	a.EndStreams()
	a.wg.Wait()
	a.registration.close()
}
