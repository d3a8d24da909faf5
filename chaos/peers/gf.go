package main

import (
	"context"
	"strings"
	"time"

	etcd "github.com/gogf/gf/contrib/registry/etcd/v2"
	"github.com/gogf/gf/contrib/rpc/grpcx/v2"
	"github.com/gogf/gf/v2/net/gsvc"
)

// gf is GoFrame's etcd registry, and the resolver of its gRPC module.
type gf struct{ once[*etcd.Registry] }

func (g *gf) registry(s settings) *etcd.Registry {
	registry, _ := g.get(func() (*etcd.Registry, error) { // which fails by panicking
		address := strings.Join(s.endpoints, ",")
		if s.user != "" {
			address += "@" + s.user + ":" + s.password
		}
		return etcd.New(address, etcd.Option{KeepaliveTTL: s.ttl}), nil
	})
	return registry
}

func (g *gf) register(s settings) (func() error, error) {
	registry := g.registry(s)
	service, err := registry.Register(context.Background(), &gsvc.LocalService{
		Name:      s.service,
		Endpoints: gsvc.NewEndpoints(s.addr),
		Metadata:  gsvc.Metadata{gsvc.MDProtocol: "grpc"},
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		err := registry.Deregister(context.Background(), service)
		time.Sleep(time.Second) // as its gRPC server does, to let callers learn of it
		return err
	}, nil
}

func (g *gf) watch(ctx context.Context, s settings, v *view) error {
	target := gsvc.Schema + "://" + gsvc.NewServiceWithName(s.service).GetKey()
	return watchChannel(ctx, target, grpcx.Resolver.New(g.registry(s)), v)
}
