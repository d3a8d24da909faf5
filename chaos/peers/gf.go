package main

import (
	"context"
	"time"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// gf is GoFrame's etcd registry, and the resolver of its gRPC module.
type gf struct{ peer.GF }

func (g *gf) Register(s peer.Settings) (func() error, error) {
	deregister, err := g.GF.Register(s)
	if err != nil {
		return nil, err
	}
	return func() error {
		err := deregister()
		time.Sleep(time.Second) // as its gRPC server does, to let callers learn of it
		return err
	}, nil
}

func (g *gf) watch(ctx context.Context, s settings, v *view) error {
	target, builder, err := g.Resolver(s.Settings)
	if err != nil {
		return err
	}
	return watchChannel(ctx, target, builder, v)
}
