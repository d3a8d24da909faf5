package rollcallgrpc_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// A client names the service, not its servers.
func ExampleNewClient() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())

	conn, err := rollcallgrpc.NewClient("jie-test", reg, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{Name: "world"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Message)
}

type greeter struct{ pb.UnimplementedGreeterServer }

func (greeter) SayHello(_ context.Context, in *pb.HelloRequest) (*pb.HelloReply, error) {
	return &pb.HelloReply{Message: "Hello " + in.Name}, nil
}

// A server is found from the moment it can be called, and leaves on SIGTERM without failing a call.
func ExampleServe() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var calls rollcallgrpc.Calls // counted, to know when callers have ceased to call
	srv := grpc.NewServer(calls.ServerOptions()...)
	pb.RegisterGreeterServer(srv, greeter{})
	err = rollcallgrpc.Serve(context.Background(), srv, lis, reg, "jie-test",
		rollcallgrpc.WithSignals(),
		rollcallgrpc.WithCalls(&calls),
		rollcallgrpc.WithInstance(rollcall.Instance{Zone: "eu-west-1a", Version: "1.4.2"}),
		rollcallgrpc.WithTTL(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
}

// A server of HTTP comes and goes in the same order. Its readiness probe fails before it begins to drain.
func ExampleServeWith() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var calls rollcallgrpc.Calls
	var serving atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("GET /hello", calls.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Hello world")
	})))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !serving.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	err = rollcallgrpc.ServeWith(context.Background(), srv, lis, reg, "jie-test-http",
		rollcallgrpc.WithSignals(), rollcallgrpc.WithCalls(&calls), rollcallgrpc.WithServing(serving.Store))
	if err != nil {
		log.Fatal(err)
	}
}

// A name in gRPC's health service for a readiness probe: the server is ready once callers have heard of it. Serve takes that back
// when it leaves.
func ExampleWithReady() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := grpc.NewServer()
	pb.RegisterGreeterServer(srv, greeter{})
	checks := health.NewServer()
	err = rollcallgrpc.Serve(context.Background(), srv, lis, reg, "jie-test",
		rollcallgrpc.WithSignals(),
		rollcallgrpc.WithHealth(checks),
		rollcallgrpc.WithReady(func(*rollcall.Registration) {
			checks.SetServingStatus("ready", healthpb.HealthCheckResponse_SERVING)
		}))
	if err != nil {
		log.Fatal(err)
	}
}

// A readiness probe by HTTP that shows how the registration is. One that heals leaves the server ready: it serves whoever knows it.
func ExampleWithReady_status() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var registration atomic.Pointer[rollcall.Registration]
	var serving atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := registration.Load()
		if r == nil || !serving.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		status := r.Status()
		fmt.Fprintln(w, status.State)
		if status.State == rollcall.Healing {
			fmt.Fprintln(w, "since", status.Since, "because of", status.Err)
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	err = rollcallgrpc.ServeWith(context.Background(), srv, lis, reg, "jie-test-http",
		rollcallgrpc.WithSignals(), rollcallgrpc.WithServing(serving.Store), rollcallgrpc.WithReady(registration.Store))
	if err != nil {
		log.Fatal(err)
	}
}
