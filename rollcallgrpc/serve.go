package rollcallgrpc

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Serve serves gRPC on lis and keeps the server registered in reg as an instance of the service, until ctx ends; then it
// leaves so that no call fails, and returns nil. Cancel ctx on SIGTERM and Serve is the whole life of a server.
//
// At the start lis is listening already, so nothing is refused from here on. Health is NOT_SERVING; the server begins to
// serve; health becomes SERVING; last, the instance is registered. While etcd is out of reach the server serves, and
// registers as soon as that is possible.
//
// At the end the instance is marked draining and health becomes NOT_SERVING; callers have the drain delay
// ([WithDrainDelay]) to hear of it, in which the server serves as before; the instance is deregistered; the calls under
// way have the stop timeout ([WithStopTimeout]) to finish; what is left is cut off. An etcd out of reach delays this by no
// more than 6 seconds; an instance that could then not be deregistered expires with its TTL. Give the process more time
// than all of these together before it is killed.
//
// Serve also ends by itself, leaving in the same way, and returns the reason:
//   - the registration ended: another one took its id over ([rollcall.ErrReplaced]), or reg was closed
//     ([rollcall.ErrClosed]);
//   - the server cannot serve: the error of [grpc.Server.Serve]; there is no drain delay then. A server that somebody
//     else stopped is no error.
//
// Invalid arguments, those of the instance included, are an error before anything serves.
//
// Serve owns srv and lis: all services are registered on srv before, and it serves nowhere else; when Serve returns,
// with an error or not, srv is stopped and lis closed. Handlers that outlast the stop timeout are not waited for, unless
// srv was made with [grpc.WaitForHandlers]. The registry stays the caller's: close it after Serve.
func Serve(ctx context.Context, srv *grpc.Server, lis net.Listener, reg *rollcall.Registry, service string, opts ...ServeOption) error {
	switch {
	case srv == nil:
		return invalid("server", "nil", "make one with grpc.NewServer")
	case lis == nil:
		return invalid("listener", "nil", "make one with net.Listen")
	}
	defer func() { _ = lis.Close() }() // grpc closes it too, but only if it came to serve
	defer srv.Stop()

	s := &server{serveSettings: newServeSettings(opts), srv: srv, reg: reg, service: service}
	if err := s.prepare(lis); err != nil {
		return err
	}
	return s.run(ctx, lis)
}

// server is one call of Serve.
type server struct {
	serveSettings
	srv      *grpc.Server
	reg      *rollcall.Registry
	service  string
	statuses []string // the health statuses that follow the server's
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
	s.prepareHealth()
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
func (s *server) run(ctx context.Context, lis net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	h := newHolder(ctx)
	served := make(chan error, 1)
	running.Go(func() { served <- s.srv.Serve(lis) })
	s.setHealth(healthpb.HealthCheckResponse_SERVING)
	running.Go(func() { s.hold(h) })

	delay, why := s.drainDelay, error(nil)
	select {
	case <-ctx.Done():
	case <-h.ended:
		why = h.err
	case why = <-served:
		delay = 0
	}
	h.letGo()
	s.leave(ctx, h.registration, delay)
	return why
}
