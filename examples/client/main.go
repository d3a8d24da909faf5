// Command client calls whoever is registered as "jie-test".
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/examples/helloworld/helloworld"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

func main() {
	etcd := flag.String("etcd", "127.0.0.1:2379", "where etcd is")
	flag.Parse()
	reg, err := rollcall.Open(rollcall.ClientConfig(*etcd))
	if err != nil {
		log.Fatal(err)
	}
	conn, err := rollcallgrpc.NewClient("jie-test", reg, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := helloworld.NewGreeterClient(conn).SayHello(ctx, &helloworld.HelloRequest{Name: "world"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.GetMessage())
}
