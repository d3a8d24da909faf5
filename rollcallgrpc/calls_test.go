package rollcallgrpc

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/features/proto/echo"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
)

type echo struct{ pb.UnimplementedEchoServer }

func (echo) UnaryEcho(context.Context, *pb.EchoRequest) (*pb.EchoResponse, error) {
	return &pb.EchoResponse{}, nil
}

func (echo) BidirectionalStreamingEcho(s grpc.BidiStreamingServer[pb.EchoRequest, pb.EchoResponse]) error {
	return s.Send(&pb.EchoResponse{})
}

func TestCallsThatBeginAreCountedAndThoseOfProbesAreNot(t *testing.T) {
	var calls Calls
	srv := grpc.NewServer(calls.ServerOptions()...)
	pb.RegisterEchoServer(srv, echo{})
	healthpb.RegisterHealthServer(srv, health.NewServer())
	reflection.Register(srv)
	lis := listen(t)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	defer func() {
		srv.Stop()
		<-served
	}()
	conn, err := grpc.NewClient("passthrough:///"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	for _, step := range []struct {
		name   string
		call   func() error
		counts int64
	}{
		{"a call", func() error {
			_, err := pb.NewEchoClient(conn).UnaryEcho(t.Context(), &pb.EchoRequest{})
			return err
		}, 1},
		{"a stream", func() error {
			stream, err := pb.NewEchoClient(conn).BidirectionalStreamingEcho(t.Context())
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, 1},
		{"a health check", func() error {
			_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
			return err
		}, 0},
		{"a health watch", func() error {
			stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, 0},
		{"reflection", func() error {
			stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
			if err != nil {
				return err
			}
			list := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
			if err := stream.Send(list); err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		}, 0},
	} {
		before := calls.Begun()
		if err := step.call(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := calls.Begun() - before; got != step.counts {
			t.Errorf("%s counts %d, want %d", step.name, got, step.counts)
		}
	}
}

func TestRequestsToAHandlerAreCountedAndServed(t *testing.T) {
	var calls Calls
	handler := calls.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for range 3 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hello", nil))
		if w.Code != http.StatusTeapot {
			t.Errorf("the handler's answer became %d", w.Code)
		}
	}
	if calls.Begun() != 3 {
		t.Errorf("%d counted, want 3", calls.Begun())
	}
}
