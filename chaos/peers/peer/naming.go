package peer

import (
	"context"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/naming/resolver"
	grpcresolver "google.golang.org/grpc/resolver"
)

// Naming is the endpoint manager and the gRPC resolver that come with the etcd client.
type Naming struct{ client Client }

func (n *Naming) Register(s Settings) (func() error, error) {
	client, err := n.client.Dial(s)
	if err != nil {
		return nil, err
	}
	manager, err := endpoints.NewManager(client, s.Service)
	if err != nil {
		return nil, err
	}
	id, err := Lease(client, s.TTL)
	if err != nil {
		return nil, err
	}
	key := s.Service + "/" + s.Addr
	if err := manager.AddEndpoint(client.Ctx(), key, endpoints.Endpoint{Addr: s.Addr}, clientv3.WithLease(id)); err != nil {
		return nil, err
	}
	return func() error { return manager.DeleteEndpoint(client.Ctx(), key) }, nil
}

// Resolver returns the resolver, and what to make a channel to with it.
func (n *Naming) Resolver(s Settings) (string, grpcresolver.Builder, error) {
	client, err := n.client.Dial(s)
	if err != nil {
		return "", nil, err
	}
	builder, err := resolver.NewBuilder(client)
	return "etcd:///" + s.Service, builder, err
}

// Lease grants a lease that the client keeps alive.
func Lease(client *clientv3.Client, ttl time.Duration) (clientv3.LeaseID, error) {
	granted, err := client.Grant(context.Background(), int64(ttl.Seconds()))
	if err != nil {
		return 0, err
	}
	alive, err := client.KeepAlive(context.Background(), granted.ID)
	if err != nil {
		return 0, err
	}
	go func() {
		for range alive {
		}
		log.Printf("the lease is no longer kept alive")
	}()
	return granted.ID, nil
}
