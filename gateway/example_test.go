package gateway_test

import (
	"context"
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall/gateway"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

// A client behind two servers: everything that takes a registry takes this one.
func ExampleOpen() {
	reg, err := gateway.Open("10.0.0.1:7051,10.0.0.2:7051")
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())

	conn, err := rollcallgrpc.NewClient("jie-test", reg, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
}
