package rollcall_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/rollcall-io/rollcall"
)

func ExampleRegistry_Register() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer reg.Close(ctx)

	r, err := reg.Register(ctx, "jie-test", rollcall.Instance{
		Addr:     "10.0.0.7:50051",
		Zone:     "eu-1a",
		Version:  "v2",
		Metadata: map[string]string{"team": "a"},
	}, rollcall.WithTTL(50*time.Second))
	if err != nil {
		log.Fatal(err)
	}

	// Serve. What the instance says about itself may change while it runs:
	if err := r.Update(ctx, func(i *rollcall.Instance) { i.Weight = 50 }); err != nil {
		log.Print(err)
	}

	// On the way out: no new calls, then gone.
	if err := r.Drain(ctx); err != nil {
		log.Print(err)
	}
	if err := r.Deregister(ctx); err != nil {
		log.Print(err)
	}
}

func ExampleRegistry_Watch() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer reg.Close(ctx)

	w := reg.Watch("jie-test")
	defer w.Close()
	for v, err := range w.Views(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for _, u := range v.Updates {
			fmt.Println(u.Op, u.Instance.ID, u.Instance.Weight)
		}
		if !v.StaleSince.IsZero() {
			fmt.Println("etcd is out of reach since", v.StaleSince, "and this is what was known:", len(v.Instances))
		}
	}
}

func ExampleRegistry_Lookup() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer reg.Close(ctx)

	v, err := reg.Lookup(ctx, "jie-test")
	if err != nil {
		log.Fatal(err)
	}
	for i := range v.Ready() {
		fmt.Println(i.Addr)
	}
}
