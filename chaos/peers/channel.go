package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
)

// watchChannel shows what a real gRPC channel to target gets from the peer's resolver, until ctx ends. The channel is
// made to connect at once and never idles, like one that is used all the time.
func watchChannel(ctx context.Context, target string, b resolver.Builder, v *view) error {
	conn, err := grpc.NewClient(target,
		grpc.WithResolvers(reporting{Builder: b, view: v}),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, policy{view: v}.Name())),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	go conn.Connect() // blocks for as long as the peer's Build does
	<-ctx.Done()
	return nil // the process ends now, and the channel with it
}

// reporting is a builder whose errors are seen. After such an error gRPC builds no resolver again, as long as the channel
// is not idle.
type reporting struct {
	resolver.Builder
	view *view
}

func (b reporting) Build(target resolver.Target, cc resolver.ClientConn, o resolver.BuildOptions) (resolver.Resolver, error) {
	r, err := b.Builder.Build(target, cc, o)
	if err != nil {
		b.view.failed(err)
	}
	return r, err
}

// policy is a balancing policy that shows the addresses and connects to none.
type policy struct{ view *view }

func (p policy) Name() string { return "peers-" + p.view.service }

func (p policy) Build(balancer.ClientConn, balancer.BuildOptions) balancer.Balancer { return p }

func (p policy) UpdateClientConnState(s balancer.ClientConnState) error {
	var addrs []string
	for _, endpoint := range s.ResolverState.Endpoints {
		for _, a := range endpoint.Addresses {
			addrs = append(addrs, a.Addr)
		}
	}
	p.view.show(0, addrs)
	if len(addrs) == 0 {
		return balancer.ErrBadResolverState // as gRPC's own policies do
	}
	return nil
}

func (p policy) ResolverError(err error) { p.view.failed(err) }

func (policy) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

func (policy) Close() {}

func (policy) ExitIdle() {}
