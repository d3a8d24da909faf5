package rollcallv1_test

import (
	"context"
	"fmt"
	"log"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Who serves "greeter" now.
func Example() {
	conn, err := grpc.NewClient("localhost:7500", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	service, err := rollcallv1.NewDiscoveryServiceClient(conn).GetService(context.Background(), &rollcallv1.GetServiceRequest{Service: "greeter"})
	if err != nil {
		log.Fatal(err)
	}
	for _, instance := range service.GetInstances() {
		fmt.Println(instance.GetId(), instance.GetAddr(), instance.GetEffectiveState())
	}
}
