package main

import (
	"context"
	"strings"

	"github.com/rpcxio/libkv/store"
	"github.com/rpcxio/rpcx-etcd/client"
	"github.com/rpcxio/rpcx-etcd/serverplugin"
	rpcxclient "github.com/smallnest/rpcx/client"
)

// rpcx is its registry plugin and its discovery for etcd.
type rpcx struct{}

const rpcxBase = "rpcx"

func (rpcx) options(s settings) *store.Config {
	if s.user == "" {
		return nil
	}
	return &store.Config{Username: s.user, Password: s.password}
}

func (r rpcx) register(s settings) (func() error, error) {
	plugin := &serverplugin.EtcdV3RegisterPlugin{
		ServiceAddress: "tcp@" + s.addr,
		EtcdServers:    s.endpoints,
		BasePath:       rpcxBase,
		UpdateInterval: s.ttl / 2, // the lease gets this and as much again
		Options:        r.options(s),
	}
	if err := plugin.Start(); err != nil {
		return nil, err
	}
	if err := plugin.Register(s.service, nil, ""); err != nil {
		return nil, err
	}
	return plugin.Stop, nil
}

func (r rpcx) watch(ctx context.Context, s settings, v *view) error {
	discovery, err := client.NewEtcdV3Discovery(rpcxBase, s.service, s.endpoints, true, r.options(s))
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

func (rpcx) show(v *view, list []*rpcxclient.KVPair) {
	var addrs []string
	for _, pair := range list {
		_, addr, _ := strings.Cut(pair.Key, "@")
		addrs = append(addrs, addr)
	}
	v.show(0, addrs)
}
