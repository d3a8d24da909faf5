package integration

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/gateway"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

func TestAClientShowsItsCertificateAndItsTokenOverTLS(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	api := grpcapi.New(open(t, etcdtest.Start(t).Endpoint(), rollcall.WithFollowAll()), grpcapi.Config{})
	const secret = "Bearer a-token"
	allowed := func(ctx context.Context) error {
		if sent := metadata.ValueFromIncomingContext(ctx, "authorization"); len(sent) != 1 || sent[0] != secret {
			return status.Error(codes.Unauthenticated, "who are you?")
		}
		return nil
	}
	srv := grpc.NewServer(append([]grpc.ServerOption{
		grpc.Creds(credentials.NewTLS(authority.Client(t, "server"))), // good for a server, too
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := allowed(ctx); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(s any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := allowed(stream.Context()); err != nil {
				return err
			}
			return handle(s, stream)
		}),
	}, api.ServerOptions()...)...)
	addr := serveAPIOn(t, srv, api)

	var calls atomic.Int64
	counted := gateway.WithDialOptions(grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		calls.Add(1)
		return invoke(ctx, method, req, reply, cc, opts...)
	}))
	openWith := func(token string) *rollcall.Registry {
		reg, err := gateway.Open(addr, gateway.WithTLS(authority.Client(t, "client")), counted,
			gateway.WithToken(func() (string, error) { return token, nil }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = reg.Close(context.WithoutCancel(t.Context())) })
		return reg
	}
	reg := openWith("a-token")
	register(t, reg, "svc", rollcall.Instance{ID: "x", Addr: "10.0.0.1:1"})
	if v := lookUp(t, reg, "svc"); len(v.Instances) != 1 || calls.Load() == 0 {
		t.Errorf("looked up %v, in %d calls", ids(v), calls.Load())
	}
	stranger := openWith("another")
	if _, err := stranger.Lookup(within(t, apiPatience), "svc"); !errors.Is(err, rollcall.ErrUnauthenticated) {
		t.Errorf("with another token: %v", err)
	}
	if _, err := stranger.SetOverride(within(t, apiPatience), "svc", "x", rollcall.Override{Drain: true}); !errors.Is(err, rollcall.ErrUnauthenticated) {
		t.Errorf("with another token: %v", err)
	}
}
