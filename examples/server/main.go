// Command server is a Greeter that can be found as "jie-test" while it serves.
package main

import (
	"context"
	"flag"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/examples/helloworld/helloworld"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

type greeter struct {
	helloworld.UnimplementedGreeterServer
}

func (greeter) SayHello(_ context.Context, in *helloworld.HelloRequest) (*helloworld.HelloReply, error) {
	return &helloworld.HelloReply{Message: "Hello " + in.GetName()}, nil
}

func main() {
	etcd := flag.String("etcd", "127.0.0.1:2379", "where etcd is")
	listen := flag.String("listen", "127.0.0.1:50051", "where to serve")
	flag.Parse()
	reg, err := rollcall.Open(rollcall.ClientConfig(*etcd)) // etcd need not be up yet
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())
	lis, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	var calls rollcallgrpc.Calls // counted, to know when callers have ceased to call
	srv := grpc.NewServer(calls.ServerOptions()...)
	helloworld.RegisterGreeterServer(srv, greeter{})
	// Registers; on SIGTERM drains until no more calls come, says goodbye, and lets those under way finish.
	if err := rollcallgrpc.Serve(context.Background(), srv, lis, reg, "jie-test", rollcallgrpc.WithCalls(&calls), rollcallgrpc.WithSignals()); err != nil {
		log.Fatal(err)
	}
}
