package main

import (
	"context"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// naming is the endpoint manager and the gRPC resolver that come with the etcd client.
type naming struct{ peer.Naming }

func (n *naming) watch(ctx context.Context, s settings, v *view) error {
	target, builder, err := n.Resolver(s.Settings)
	if err != nil {
		return err
	}
	return watchChannel(ctx, target, builder, v)
}
