package peer

import (
	"context"
	"time"

	etcd "github.com/go-kratos/kratos/contrib/registry/etcd/v2"
	"github.com/go-kratos/kratos/v2/registry"
	"github.com/go-kratos/kratos/v2/transport/grpc/resolver/discovery"
	"google.golang.org/grpc/resolver"
)

// Kratos is its etcd registry, and the resolver that its gRPC client puts before it.
type Kratos struct {
	client   Client
	registry Once[*etcd.Registry]
}

// patience is what a kratos application gives its registry for each call.
const patience = 10 * time.Second

// Open returns the registry.
func (k *Kratos) Open(s Settings) (*etcd.Registry, error) {
	return k.registry.Get(func() (*etcd.Registry, error) {
		client, err := k.client.Dial(s)
		if err != nil {
			return nil, err
		}
		return etcd.New(client, etcd.RegisterTTL(s.TTL)), nil
	})
}

func (k *Kratos) Register(s Settings) (func() error, error) {
	reg, err := k.Open(s)
	if err != nil {
		return nil, err
	}
	instance := &registry.ServiceInstance{ID: s.ID, Name: s.Service, Endpoints: []string{"grpc://" + s.Addr}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := reg.Register(ctx, instance); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return reg.Deregister(ctx, instance)
	}, nil
}

// Resolver returns the resolver, and what to make a channel to with it.
func (k *Kratos) Resolver(s Settings) (string, resolver.Builder, error) {
	reg, err := k.Open(s)
	if err != nil {
		return "", nil, err
	}
	return "discovery:///" + s.Service, discovery.NewBuilder(reg,
		discovery.WithInsecure(true),
		discovery.WithTimeout(2*time.Second), // the default of its gRPC client
		discovery.WithSubset(0)), nil         // else a view holds at most 25 instances
}
