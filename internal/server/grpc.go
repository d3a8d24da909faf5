package server

import (
	"context"
	"math"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"
)

const (
	// maxStreams is what one connection may have under way: ten thousand watches, as a proxy in front of many clients has, and calls.
	maxStreams = 16384

	maxHeaders       = 16 << 10         // bytes of a call's metadata
	handshakeTimeout = 5 * time.Second  // for a connection to say what it wants
	pingAfter        = 10 * time.Second // of silence; who holds a session has to be missed in time
	pingTimeout      = 3 * time.Second
	clientPings      = 5 * time.Second // and no more often
	ageGrace         = 30 * time.Second

	pipeSize = 256 << 10 // bytes on their way to or from HTTP's calls

	// receiveWindow is how many bytes of a stream, or a connection, may come before the first are acknowledged. gRPC, left to itself, finds a
	// size by a ping after each message, which wakes each client at each of its heartbeats.
	receiveWindow = 256 << 10
)

// networkOptions are what the gRPC server is protected with against clients that are careless, gone, or mean.
func networkOptions(cfg Config, certs *certificates) []grpc.ServerOption {
	alive := keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}
	if cfg.MaxConnectionAge > 0 {
		alive.MaxConnectionAge, alive.MaxConnectionAgeGrace = cfg.MaxConnectionAge, ageGrace // gRPC adds the ±10 %
	}
	opts := []grpc.ServerOption{
		grpc.KeepaliveParams(alive),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPings, PermitWithoutStream: true}),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.StaticStreamWindowSize(receiveWindow), grpc.StaticConnWindowSize(receiveWindow),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTimeout),
	}
	if certs != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(certs.listener())))
	}
	return opts
}

// insideOptions are for the server that only HTTP speaks to, all of it by one connection; HTTP has limits of its own.
func insideOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.MaxConcurrentStreams(math.MaxUint32)}
}

// registerCommon adds what every gRPC server has.
func registerCommon(s *grpc.Server, h *health.Server) {
	healthpb.RegisterHealthServer(s, h)
	reflection.RegisterV1(s)
}

// options are the guard's interceptors.
func (g Guard) options() []grpc.ServerOption {
	var opts []grpc.ServerOption
	if g.Unary != nil {
		opts = append(opts, grpc.ChainUnaryInterceptor(g.Unary))
	}
	if g.Stream != nil {
		opts = append(opts, grpc.ChainStreamInterceptor(g.Stream))
	}
	return opts
}

// dialInside connects HTTP to the server in this process.
func dialInside(pipe *bufconn.Listener) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///inside",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
}

// FromHTTP reports whether a call that is being served is an HTTP request of this process, so that its metadata is what
// [Guard.Metadata] made of it.
func FromHTTP(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	return ok && p.Addr != nil && p.Addr.Network() == "bufconn"
}
