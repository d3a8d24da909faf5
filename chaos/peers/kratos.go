package main

import (
	"context"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// kratos is its etcd registry, and the resolver that its gRPC client puts before it.
type kratos struct{ peer.Kratos }

func (k *kratos) watch(ctx context.Context, s settings, v *view) error {
	target, builder, err := k.Resolver(s.Settings)
	if err != nil {
		return err
	}
	return watchChannel(ctx, target, builder, v)
}
