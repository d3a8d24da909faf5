package integration

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

// endable is a stream that whoever let it in may end.
type endable struct {
	grpc.ServerStream
	ctx context.Context
}

func (e endable) Context() context.Context { return e.ctx }

// A server that stops ends its streams one by one, and who is no longer allowed has none: both end a stream's context, and the client
// has said nothing.
func TestASessionEndsWithTheContextThatItWasLetInWith(t *testing.T) {
	t.Parallel()
	let, end := context.WithCancel(t.Context())
	defer end()
	api := grpcapi.New(open(t, etcdtest.Start(t).Endpoint(), rollcall.WithFollowAll()), grpcapi.Config{})
	srv := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ChainStreamInterceptor(func(s any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			ctx, cancel := context.WithCancel(ss.Context())
			defer cancel()
			defer context.AfterFunc(let, cancel)()
			return handle(s, endable{ss, ctx})
		}),
	}, api.ServerOptions()...)...)
	conn, err := grpc.NewClient(serveAPIOn(t, srv, api), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := rollcallv1.NewRegistrationServiceClient(conn).Session(within(t, apiPatience))
	if err != nil {
		t.Fatal(err)
	}
	n := &sessionOf{t: t, stream: stream, cancel: func() {}}
	n.fill(1)
	began := time.Now()
	end()
	_, err = stream.Recv()
	wantStatus(t, "the end of the session", err, codes.Canceled)
	if took := time.Since(began); took > apiPatience/2 {
		t.Errorf("it ended after %v, with the client's patience", took)
	}
}
