package rollcallgrpc_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

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
	err = rollcallgrpc.Serve(ctx, srv, lis, reg, "jie-test",
		rollcallgrpc.WithInstance(rollcall.Instance{Zone: "eu-west-1a", Version: "1.4.2"}),
		rollcallgrpc.WithTTL(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
}
