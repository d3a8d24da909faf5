package rollcallgrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc"
)

// Serve serves gRPC on lis and keeps the server registered in reg as an instance of the service, until ctx ends; then it
// leaves so that no call fails, and returns nil. With [WithSignals], or a ctx that ends on SIGTERM, Serve is the whole life
// of a server.
//
// At the start lis is listening already, so nothing is refused from here on. The warm-up runs ([WithWarmUp]); the server
// begins to serve, and health becomes SERVING; the instance is registered; once it is seen in the registry's own watch, the
// server is ready ([WithReady]). While etcd is out of reach the server serves, and registers as soon as that is possible.
//
// At the end health becomes NOT_SERVING and the instance is marked draining. The server serves as before until its callers
// have heard of it: for the drain delay ([WithDrainDelay]), or until no new call has come for a while ([WithCalls]). Then the
// instance is deregistered; the calls under way have the stop timeout ([WithStopTimeout]) to finish; what is left is cut off.
// An etcd out of reach delays this by no more than 6 seconds; an instance that could then not be deregistered expires with its
// TTL. Give the process more time than all of these together before it is killed: docs/serving.md adds it up for Kubernetes.
//
// Serve also ends by itself, leaving in the same way, and returns the reason:
//   - the registration ended: another one took its id over ([rollcall.ErrReplaced]), or reg was closed
//     ([rollcall.ErrClosed]);
//   - the server cannot serve: the error of [grpc.Server.Serve]; there is no drain delay then. A server that somebody
//     else stopped is no error;
//   - the warm-up failed; nothing was served or registered then.
//
// Invalid arguments, those of the instance included, are an error before anything serves.
//
// Serve owns srv and lis: all services are registered on srv before, and it serves nowhere else; when Serve returns,
// with an error or not, srv is stopped and lis closed. Handlers that outlast the stop timeout are not waited for, unless
// srv was made with [grpc.WaitForHandlers]. The registry stays the caller's: close it after Serve.
func Serve(ctx context.Context, srv *grpc.Server, lis net.Listener, reg *rollcall.Registry, service string, opts ...ServeOption) error {
	if srv == nil {
		return invalid("server", "nil", "make one with grpc.NewServer")
	}
	s := &server{serveSettings: newServeSettings(opts), srv: grpcServer{srv}, reg: reg, service: service}
	s.grpc = srv
	return s.serve(ctx, lis)
}

// Server is a server of any protocol, for [ServeWith]. An [http.Server] is one.
type Server interface {
	// Serve serves until Shutdown or Close. The error of a server that was told to end is nil or [http.ErrServerClosed].
	Serve(net.Listener) error

	// Shutdown takes nothing new, and returns when what is under way has finished: nil then, the error of ctx when that ends
	// before.
	Shutdown(ctx context.Context) error

	// Close ends at once. It is called in any case, after Shutdown too.
	Close() error
}

// ServeWith is [Serve] for a server that is not grpc-go's, such as an [http.Server]: the same order at the start and at the
// end. It has no health service to steer; [WithServing] tells whether the server is to be called, for whatever answers that
// question. For TLS, wrap the listener ([crypto/tls.NewListener]).
func ServeWith(ctx context.Context, srv Server, lis net.Listener, reg *rollcall.Registry, service string, opts ...ServeOption) error {
	if srv == nil {
		return invalid("server", "nil", "make one, an http.Server for example")
	}
	s := &server{serveSettings: newServeSettings(opts), srv: srv, reg: reg, service: service}
	return s.serve(ctx, lis)
}

// grpcServer makes a Server of grpc-go's.
type grpcServer struct{ *grpc.Server }

// Shutdown lets the calls under way finish. A handler that ignores even Close keeps GracefulStop waiting: this goroutine alone
// is not waited for, or the handler would keep the server.
func (g grpcServer) Shutdown(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		g.GracefulStop()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g grpcServer) Close() error {
	g.Stop()
	return nil
}

// server is one call of Serve.
type server struct {
	serveSettings
	srv        Server
	grpc       *grpc.Server // the same; nil if it is another protocol's
	reg        *rollcall.Registry
	service    string
	statuses   []string           // the health statuses that follow the server's
	etcdLeft   time.Duration      // for etcd to answer in at the end
	endWatches context.CancelFunc // ends the watches of the health service; nil if that is not ours
}

func (s *server) serve(ctx context.Context, lis net.Listener) error {
	defer func() { _ = s.srv.Close() }()
	if lis == nil {
		return invalid("listener", "nil", "make one with net.Listen")
	}
	defer func() { _ = lis.Close() }() // servers close it too, but only if they came to serve
	if err := s.prepare(lis); err != nil {
		return err
	}
	return s.run(ctx, lis)
}

// prepare checks all that can be checked, and makes the server ready to serve.
func (s *server) prepare(lis net.Listener) error {
	if s.reg == nil {
		return noRegistry()
	}
	if err := s.serveSettings.validate(); err != nil {
		return err
	}
	if s.instance.Addr == "" {
		addr, err := dialable(lis.Addr())
		if err != nil {
			return err
		}
		s.instance.Addr = addr
	}
	if err := s.reg.Validate(s.service, &s.instance, s.register...); err != nil {
		return err
	}
	switch {
	case s.grpc != nil:
		s.prepareHealth(s.grpc)
	case s.health != nil:
		return invalid("option", "WithHealth", "it is for gRPC servers; use WithServing")
	}
	return nil
}

// dialable returns the address under which a listener can be called, if its own is one.
func dialable(addr net.Addr) (string, error) {
	host, _, err := net.SplitHostPort(addr.String())
	ip, notIP := netip.ParseAddr(host)
	if err != nil || host == "" || notIP == nil && ip.IsUnspecified() {
		return "", invalid("listener address", `"`+addr.String()+`"`,
			`callers cannot dial it: set WithInstance(rollcall.Instance{Addr: "host:port"}) to an address they can, or listen on one`)
	}
	return addr.String(), nil
}

// run is the life of the server, from the first call it takes to the last.
func (s *server) run(parent context.Context, lis net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	life := newLife(parent)
	defer life.over()
	if s.signals != nil {
		running.Go(life.heed(s.signals))
	}
	if err := s.warm(life.wanted); err != nil || life.wanted.Err() != nil {
		return err
	}

	served := make(chan error, 1)
	running.Go(func() { served <- s.srv.Serve(lis) })
	s.tellServing(true)
	s.etcdLeft = etcdPatience
	h := newHolder(life.wanted)
	running.Go(func() { s.hold(h) })

	broken, why := false, error(nil)
	select {
	case <-life.wanted.Done():
	case <-h.ended:
		why = h.err
	case why = <-served:
		broken = true
		if errors.Is(why, http.ErrServerClosed) {
			why = nil
		}
	}
	s.askEtcd(life.patient, h.letGo)
	s.leave(life.patient, h.registration, broken)
	return why
}

// warm runs the warm-up. One that fails because the server is to leave has not failed.
func (s *server) warm(ctx context.Context) error {
	if s.warmUp == nil {
		return nil
	}
	if err := s.warmUp(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("warm up %s: %w", s.service, err)
	}
	return nil
}
