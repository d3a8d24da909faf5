package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/loadbalance"
	"github.com/cloudwego/kitex/pkg/loadbalance/lbcache"
	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	etcd "github.com/kitex-contrib/registry-etcd"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// kitex is its etcd registry and resolver, the latter behind the cache that its clients put before every resolver.
type kitex struct {
	registry peer.Once[registry.Registry]
	resolver peer.Once[discovery.Resolver]
}

func (*kitex) options(s peer.Settings) (all []etcd.Option) {
	if s.User != "" {
		all = append(all, etcd.WithAuthOpt(s.User, s.Password))
	}
	return all
}

func (k *kitex) Register(s peer.Settings) (func() error, error) {
	if err := os.Setenv("KITEX_ETCD_REGISTRY_LEASE_TTL", strconv.Itoa(int(s.TTL.Seconds()))); err != nil {
		return nil, err
	}
	addr, err := net.ResolveTCPAddr("tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	r, err := k.registry.Get(func() (registry.Registry, error) { return etcd.NewEtcdRegistry(s.Endpoints, k.options(s)...) })
	if err != nil {
		return nil, err
	}
	info := &registry.Info{ServiceName: s.Service, Addr: addr, Weight: 10}
	if err := r.Register(info); err != nil {
		return nil, err
	}
	return func() error { return r.Deregister(info) }, nil
}

// watch asks as often as a caller with a few calls per second does. The cache asks etcd every 5 s.
func (k *kitex) watch(ctx context.Context, s settings, v *view) error {
	resolver, err := k.resolver.Get(func() (discovery.Resolver, error) { return etcd.NewEtcdResolver(s.Endpoints, k.options(s.Settings)...) })
	if err != nil {
		return err
	}
	cache := lbcache.NewBalancerFactory(resolver, loadbalance.NewWeightedBalancer(), lbcache.Options{})
	target := rpcinfo.NewEndpointInfo(s.Service, "", nil, nil)
	for tick := time.Tick(200 * time.Millisecond); ; {
		v.poll(k.ask(ctx, cache, target))
		select {
		case <-tick:
		case <-ctx.Done():
			return nil
		}
	}
}

func (*kitex) ask(ctx context.Context, cache *lbcache.BalancerFactory, target rpcinfo.EndpointInfo) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a call's deadline
	defer cancel()
	balancer, err := cache.Get(ctx, target)
	if err != nil {
		return nil, err
	}
	balancer.GetPicker() // tells the cache that this service is still called
	result, _ := balancer.GetResult()
	var addrs []string
	for _, instance := range result.Instances {
		addrs = append(addrs, instance.Address().String())
	}
	return addrs, nil
}
