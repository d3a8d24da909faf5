package resolver_test

import (
	"context"
	"log"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A channel with a policy of its own choice.
func ExampleNewBuilder() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())

	conn, err := grpc.NewClient("rollcall:///jie-test",
		grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithServiceConfig(`{"loadBalancingConfig":[{"pick_first":{"shuffleAddressList":true}}]}`))),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
}
