package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/naming/resolver"
)

// naming is the endpoint manager and the gRPC resolver that come with the etcd client.
type naming struct{ dialer }

func (n *naming) register(s settings) (func() error, error) {
	client, err := n.dial(s)
	if err != nil {
		return nil, err
	}
	manager, err := endpoints.NewManager(client, s.service)
	if err != nil {
		return nil, err
	}
	id, err := lease(client, s.ttl)
	if err != nil {
		return nil, err
	}
	key := s.service + "/" + s.addr
	if err := manager.AddEndpoint(client.Ctx(), key, endpoints.Endpoint{Addr: s.addr}, clientv3.WithLease(id)); err != nil {
		return nil, err
	}
	return func() error { return manager.DeleteEndpoint(client.Ctx(), key) }, nil
}

func (n *naming) watch(ctx context.Context, s settings, v *view) error {
	client, err := n.dial(s)
	if err != nil {
		return err
	}
	builder, err := resolver.NewBuilder(client)
	if err != nil {
		return err
	}
	return watchChannel(ctx, "etcd:///"+s.service, builder, v)
}
