package naming_test

import (
	"context"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/naming"
)

// A server registers its address, and takes it away before it stops.
func ExampleRegistry_Register() {
	client, err := clientv3.New(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	names := naming.New(client)
	defer names.Close(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	here := naming.Update{Op: naming.Add, Addr: "10.0.0.7:50051", Metadata: map[string]string{"team": "a"}}
	if err := names.Register(ctx, "jie-test", here, naming.WithTTL(30*time.Second)); err != nil {
		log.Fatal(err)
	}

	// … serve …

	here.Op = naming.Delete
	if err := names.Register(ctx, "jie-test", here); err != nil {
		log.Fatal(err)
	}
}

// A caller follows the addresses of a target.
func ExampleRegistry_Resolve() {
	client, err := clientv3.New(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	names := naming.New(client)
	defer names.Close(context.Background())

	w, err := names.Resolve("jie-test")
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	for {
		updates, err := w.Next()
		if err != nil {
			log.Fatal(err) // somebody closed the watcher
		}
		for _, u := range updates {
			if u.Op == naming.Add {
				log.Printf("%s is there, %v", u.Addr, u.Metadata)
			} else {
				log.Printf("%s is gone", u.Addr)
			}
		}
	}
}
