package main

import (
	"context"
	"strings"

	"github.com/rpcxio/libkv/store"
	"github.com/rpcxio/rpcx-etcd/client"
	"github.com/rpcxio/rpcx-etcd/serverplugin"
	rpcxclient "github.com/smallnest/rpcx/client"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// rpcx is its registry plugin and its discovery for etcd. A plugin has one etcd client, and one address for all services
// that it registers.
type rpcx struct {
	plugin    peer.Once[*serverplugin.EtcdV3RegisterPlugin]
	discovery peer.Once[rpcxDiscovery]
}

// rpcxDiscovery is the discovery that was made first. Those of other services are its clones, as in clients of several services.
type rpcxDiscovery struct {
	rpcxclient.ServiceDiscovery
	service string
}

const rpcxBase = "rpcx"

func (*rpcx) options(s peer.Settings) *store.Config {
	if s.User == "" {
		return nil
	}
	return &store.Config{Username: s.User, Password: s.Password}
}

func (r *rpcx) Register(s peer.Settings) (func() error, error) {
	open := func() (*serverplugin.EtcdV3RegisterPlugin, error) { return r.start(s) }
	plugin, err := r.plugin.Get(open)
	stop := func() error { return nil } // the plugin is stopped with its first service
	if err == nil && plugin.ServiceAddress != address(s) {
		plugin, err = open() // another server of the same process
	}
	if err != nil {
		return nil, err
	}
	if len(plugin.Services) == 0 {
		stop = plugin.Stop
	}
	if err := plugin.Register(s.Service, nil, ""); err != nil {
		return nil, err
	}
	return stop, nil
}

func (r *rpcx) start(s peer.Settings) (*serverplugin.EtcdV3RegisterPlugin, error) {
	plugin := &serverplugin.EtcdV3RegisterPlugin{
		ServiceAddress: address(s),
		EtcdServers:    s.Endpoints,
		BasePath:       rpcxBase,
		UpdateInterval: s.TTL / 2, // the lease gets this and as much again
		Options:        r.options(s),
	}
	return plugin, plugin.Start()
}

func address(s peer.Settings) string { return "tcp@" + s.Addr }

func (r *rpcx) watch(ctx context.Context, s settings, v *view) error {
	discovery, err := r.discover(s.Settings)
	if err != nil {
		return err
	}
	lists := discovery.WatchService()
	r.show(v, discovery.GetServices())
	for {
		select {
		case list := <-lists:
			r.show(v, list)
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *rpcx) discover(s peer.Settings) (rpcxclient.ServiceDiscovery, error) {
	d, err := r.discovery.Get(func() (rpcxDiscovery, error) {
		discovery, err := client.NewEtcdV3Discovery(rpcxBase, s.Service, s.Endpoints, true, r.options(s))
		return rpcxDiscovery{discovery, s.Service}, err
	})
	if err != nil || d.service == s.Service {
		return d.ServiceDiscovery, err
	}
	return d.Clone(s.Service)
}

func (*rpcx) show(v *view, list []*rpcxclient.KVPair) {
	var addrs []string
	for _, pair := range list {
		_, addr, _ := strings.Cut(pair.Key, "@")
		addrs = append(addrs, addr)
	}
	v.show(0, addrs)
}
