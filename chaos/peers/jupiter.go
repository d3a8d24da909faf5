package main

import (
	"context"

	"github.com/douyu/jupiter/pkg/client/grpc/resolver"
	"github.com/douyu/jupiter/pkg/conf"
	"github.com/douyu/jupiter/pkg/registry/etcdv3"
	"github.com/douyu/jupiter/pkg/server"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// jupiter is its etcd registry and its gRPC resolver, configured by a file, here one in memory. It has one
// registry for each configuration, by itself.
type jupiter struct{ configured peer.Once[struct{}] }

// jupiterKey is where its examples keep the registry's configuration.
const jupiterKey = "jupiter.registry.default"

func (j *jupiter) configure(s peer.Settings) error {
	_, err := j.configured.Get(func() (done struct{}, err error) {
		return done, conf.Apply(map[string]any{"jupiter": map[string]any{"registry": map[string]any{"default": map[string]any{
			"endpoints":  s.Endpoints,
			"serviceTTL": s.TTL.String(),
			"basicAuth":  s.User != "",
			"userName":   s.User,
			"password":   s.Password,
		}}}})
	})
	return err
}

func (j *jupiter) service(s peer.Settings) *server.ServiceInfo {
	return &server.ServiceInfo{Name: s.Service, AppID: s.ID, Scheme: "grpc", Address: s.Addr, Weight: 100, Enable: true, Healthy: true}
}

func (j *jupiter) Register(s peer.Settings) (func() error, error) {
	if err := j.configure(s); err != nil {
		return nil, err
	}
	registry := etcdv3.RawConfig(jupiterKey).MustSingleton()
	if err := registry.RegisterService(context.Background(), j.service(s)); err != nil {
		return nil, err
	}
	return registry.Close, nil
}

func (j *jupiter) watch(ctx context.Context, s settings, v *view) error {
	if err := j.configure(s.Settings); err != nil {
		return err
	}
	return watchChannel(ctx, "etcd:///"+j.service(s.Settings).ServicePrefix(), resolver.NewEtcdBuilder("etcd", jupiterKey), v)
}
