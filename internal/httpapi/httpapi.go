// Package httpapi is the API for everything that speaks HTTP: JSON, Server-Sent Events, what Prometheus asks for, and what
// tells whether the server is well. It decides nothing: each call of the API goes on, with the caller's credentials and nothing
// else of his request, to the gRPC server behind [Config.Conn], which answers and refuses for both alike.
package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// maxBody is the size of a request's body, as gRPC's requests have it.
const maxBody = 64 << 10

// Config is what an API is made of. Only Conn is needed.
type Config struct {
	// Conn leads to the gRPC server, in the same process. Its server lets one connection have MaxWatches streams and those of the
	// calls that run at a time.
	Conn grpc.ClientConnInterface

	// Metadata returns what the gRPC server is told of a request beside its Authorization header, such as who holds the client's
	// certificate. It wins over that header. By default nothing.
	Metadata func(*http.Request) metadata.MD

	// Admit decides on requests for what this package serves itself, without a call: page is the pattern of the route. It returns an error
	// with the status of a refusal. By default everybody gets everything.
	Admit func(r *http.Request, page string) error

	// Page serves people: what is asked for that is neither a route nor below /v1/. By default there is nothing there.
	Page http.Handler

	// Ready returns what /readyz tells. It is called for each request and answers at once. By default there is nothing to be ready.
	Ready func() []Check

	// Version and Revision are of the program, for /version and the metric rollcall_build_info.
	Version, Revision string

	// Gatherers have what /metrics tells beside the metrics of this package, of Go and of the process. Of two families with the
	// same name the first counts.
	Gatherers []prometheus.Gatherer

	// Hosts are the names, without ports, under which the server may be asked for, beside localhost and addresses. Where a
	// listener is on loopback no other name is accepted: a page of somebody else's could have it lead here. Elsewhere every name is
	// accepted when Hosts is empty.
	Hosts []string

	// Origins are those of web pages, such as https://ops.example, that may use the API from a browser, beside the server's own.
	Origins []string

	// MaxWatches is how many event streams there may be at a time; 0 means 1,000.
	MaxWatches int

	// Logger hears of what should not happen; nil for nothing.
	Logger *slog.Logger
}

// API serves HTTP.
type API struct {
	config   Config
	calls    conn
	watches  rollcallv1.DiscoveryServiceClient
	routes   map[string]route // by path; those of the gateway, and those with variables, are not in it
	gateway  http.Handler
	services *answers
	tellings *tellings
	origins  *http.CrossOriginProtection
	metrics  *metrics

	// Times that tests shorten.
	heartbeat time.Duration // between comments in an event stream that is silent
	patience  time.Duration // that a reader has to take an event

	ending  context.Context // ends when Close is called: event streams end with it
	end     context.CancelFunc
	mu      sync.Mutex // guards running.Add against Close, and places
	places  int        // event streams that there may be in addition
	running sync.WaitGroup
}

// New returns an API, which is ready to serve. The error is about the configuration.
func New(config Config) (*API, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.MaxWatches == 0 {
		config.MaxWatches = 1000
	}
	if config.Ready == nil {
		config.Ready = func() []Check { return nil }
	}
	a := &API{
		config: config, calls: conn{config.Conn}, heartbeat: 15 * time.Second, patience: 10 * time.Second,
		places: config.MaxWatches, metrics: newMetrics(config), origins: http.NewCrossOriginProtection(),
	}
	a.watches = rollcallv1.NewDiscoveryServiceClient(a.calls)
	a.services = newAnswers(a.watches)
	a.tellings = newTellings()
	a.ending, a.end = context.WithCancel(context.Background())
	for _, origin := range config.Origins {
		if err := a.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("serve HTTP: %w", err)
		}
	}
	gateway, err := newGateway(a.calls, a.services)
	if err != nil {
		return nil, fmt.Errorf("serve HTTP: %w", err)
	}
	a.gateway = gateway
	a.routes = a.table()
	return a, nil
}

// Close ends all event streams, refuses new ones and waits until none is left. Other requests are the HTTP server's to wait for. It is
// idempotent.
func (a *API) Close() {
	a.mu.Lock()
	a.end()
	a.mu.Unlock()
	a.running.Wait()
}
