package peer

import (
	"context"
	"strings"

	etcd "github.com/gogf/gf/contrib/registry/etcd/v2"
	"github.com/gogf/gf/contrib/rpc/grpcx/v2"
	"github.com/gogf/gf/v2/net/gsvc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
)

// GF is GoFrame's etcd registry, and the resolver of its gRPC module.
type GF struct{ registry Once[*etcd.Registry] }

func (g *GF) open(s Settings) *etcd.Registry {
	registry, _ := g.registry.Get(func() (*etcd.Registry, error) { // which fails by panicking
		address := strings.Join(s.Endpoints, ",")
		if s.User != "" {
			address += "@" + s.User + ":" + s.Password
		}
		return etcd.New(address, etcd.Option{KeepaliveTTL: s.TTL}), nil
	})
	return registry
}

func (*GF) service(s Settings) *gsvc.LocalService {
	return &gsvc.LocalService{
		Name:      s.Service,
		Endpoints: gsvc.NewEndpoints(s.Addr),
		Metadata:  gsvc.Metadata{gsvc.MDProtocol: "grpc"},
	}
}

func (g *GF) Register(s Settings) (func() error, error) {
	registry := g.open(s)
	service, err := registry.Register(context.Background(), g.service(s))
	if err != nil {
		return nil, err
	}
	return func() error { return registry.Deregister(context.Background(), service) }, nil
}

// Resolver returns the resolver, and what to make a channel to with it.
func (g *GF) Resolver(s Settings) (string, resolver.Builder, error) {
	return gsvc.Schema + "://" + gsvc.NewServiceWithName(s.Service).GetKey(), grpcx.Resolver.New(g.open(s)), nil
}

// Dial makes the channel with its gRPC client.
func (g *GF) Dial(s Settings, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	_, builder, err := g.Resolver(s)
	if err != nil {
		return nil, err
	}
	gsvc.SetRegistry(g.open(s))
	return grpcx.Client.NewGrpcClientConn(s.Service, append([]grpc.DialOption{grpc.WithResolvers(builder)}, options...)...)
}
