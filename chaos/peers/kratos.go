package main

import (
	"context"
	"time"

	etcd "github.com/go-kratos/kratos/contrib/registry/etcd/v2"
	"github.com/go-kratos/kratos/v2/registry"
	"github.com/go-kratos/kratos/v2/transport/grpc/resolver/discovery"
)

// kratos is its etcd registry, and the resolver that its gRPC client puts before it.
type kratos struct {
	dialer
	registry once[*etcd.Registry]
}

// patience is what a kratos application gives its registry for each call.
const patience = 10 * time.Second

func (k *kratos) open(s settings) (*etcd.Registry, error) {
	return k.registry.get(func() (*etcd.Registry, error) {
		client, err := k.dial(s)
		if err != nil {
			return nil, err
		}
		return etcd.New(client, etcd.RegisterTTL(s.ttl)), nil
	})
}

func (k *kratos) register(s settings) (func() error, error) {
	reg, err := k.open(s)
	if err != nil {
		return nil, err
	}
	instance := &registry.ServiceInstance{ID: s.id, Name: s.service, Endpoints: []string{"grpc://" + s.addr}}
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

func (k *kratos) watch(ctx context.Context, s settings, v *view) error {
	reg, err := k.open(s)
	if err != nil {
		return err
	}
	builder := discovery.NewBuilder(reg,
		discovery.WithInsecure(true),
		discovery.WithTimeout(2*time.Second), // the default of its gRPC client
		discovery.WithSubset(0))              // else a view holds at most 25 instances
	return watchChannel(ctx, "discovery:///"+s.service, builder, v)
}
