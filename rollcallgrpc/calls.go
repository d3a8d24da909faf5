package rollcallgrpc

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
)

// Calls counts the calls that begin at a server, so that [Serve] knows when callers have ceased to call it: see [WithCalls]. Calls
// of gRPC's health and reflection services do not count: who looks after a server goes on until its end. The zero value is ready
// for use, by one server; all methods may be called concurrently.
type Calls struct{ begun atomic.Int64 }

// Begun returns how many calls have begun.
func (c *Calls) Begun() int64 { return c.begun.Load() }

// ServerOptions makes a gRPC server count its calls, by interceptors, one addition for each call. They go behind those of the
// options before: grpc.NewServer(append(options, calls.ServerOptions()...)...).
func (c *Calls) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			c.count(info.FullMethod)
			return handler(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			c.count(info.FullMethod)
			return handler(srv, ss)
		}),
	}
}

func (c *Calls) count(method string) {
	if !strings.HasPrefix(method, "/grpc.health.") && !strings.HasPrefix(method, "/grpc.reflection.") {
		c.begun.Add(1)
	}
}

// Handler counts the requests that a handler is given. Wrap what callers call, not what answers probes.
func (c *Calls) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.begun.Add(1)
		next.ServeHTTP(w, r)
	})
}
