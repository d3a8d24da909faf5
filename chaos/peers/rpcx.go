package main

import (
	"context"
	"strings"

	"github.com/rpcxio/libkv/store"
	"github.com/rpcxio/rpcx-etcd/client"
	"github.com/rpcxio/rpcx-etcd/serverplugin"
	rpcxclient "github.com/smallnest/rpcx/client"
)

// rpcx is its registry plugin and its discovery for etcd. A plugin has one etcd client, and one address for all services
// that it registers.
type rpcx struct {
	plugin    once[*serverplugin.EtcdV3RegisterPlugin]
	discovery once[rpcxDiscovery]
}

// rpcxDiscovery is the discovery that was made first. Those of other services are its clones, as in clients of several services.
type rpcxDiscovery struct {
	rpcxclient.ServiceDiscovery
	service string
}

const rpcxBase = "rpcx"

func (*rpcx) options(s settings) *store.Config {
	if s.user == "" {
		return nil
	}
	return &store.Config{Username: s.user, Password: s.password}
}

func (r *rpcx) register(s settings) (func() error, error) {
	open := func() (*serverplugin.EtcdV3RegisterPlugin, error) { return r.start(s) }
	plugin, err := r.plugin.get(open)
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
	if err := plugin.Register(s.service, nil, ""); err != nil {
		return nil, err
	}
	return stop, nil
}

func (r *rpcx) start(s settings) (*serverplugin.EtcdV3RegisterPlugin, error) {
	plugin := &serverplugin.EtcdV3RegisterPlugin{
		ServiceAddress: address(s),
		EtcdServers:    s.endpoints,
		BasePath:       rpcxBase,
		UpdateInterval: s.ttl / 2, // the lease gets this and as much again
		Options:        r.options(s),
	}
	return plugin, plugin.Start()
}

func address(s settings) string { return "tcp@" + s.addr }

func (r *rpcx) watch(ctx context.Context, s settings, v *view) error {
	discovery, err := r.discover(s)
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

func (r *rpcx) discover(s settings) (rpcxclient.ServiceDiscovery, error) {
	d, err := r.discovery.get(func() (rpcxDiscovery, error) {
		discovery, err := client.NewEtcdV3Discovery(rpcxBase, s.service, s.endpoints, true, r.options(s))
		return rpcxDiscovery{discovery, s.service}, err
	})
	if err != nil || d.service == s.service {
		return d.ServiceDiscovery, err
	}
	return d.Clone(s.service)
}

func (*rpcx) show(v *view, list []*rpcxclient.KVPair) {
	var addrs []string
	for _, pair := range list {
		_, addr, _ := strings.Cut(pair.Key, "@")
		addrs = append(addrs, addr)
	}
	v.show(0, addrs)
}
