package main

import (
	"context"

	"github.com/douyu/jupiter/pkg/client/grpc/resolver"
	"github.com/douyu/jupiter/pkg/conf"
	"github.com/douyu/jupiter/pkg/registry/etcdv3"
	"github.com/douyu/jupiter/pkg/server"
)

// jupiter is its etcd registry and its gRPC resolver, configured by a file, here one in memory. It has one
// registry for each configuration, by itself.
type jupiter struct{ configured once[struct{}] }

// jupiterKey is where its examples keep the registry's configuration.
const jupiterKey = "jupiter.registry.default"

func (j *jupiter) configure(s settings) error {
	_, err := j.configured.get(func() (done struct{}, err error) {
		return done, conf.Apply(map[string]any{"jupiter": map[string]any{"registry": map[string]any{"default": map[string]any{
			"endpoints":  s.endpoints,
			"serviceTTL": s.ttl.String(),
			"basicAuth":  s.user != "",
			"userName":   s.user,
			"password":   s.password,
		}}}})
	})
	return err
}

func (j *jupiter) service(s settings) *server.ServiceInfo {
	return &server.ServiceInfo{Name: s.service, AppID: s.id, Scheme: "grpc", Address: s.addr, Weight: 100, Enable: true, Healthy: true}
}

func (j *jupiter) register(s settings) (func() error, error) {
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
	if err := j.configure(s); err != nil {
		return err
	}
	return watchChannel(ctx, "etcd:///"+j.service(s).ServicePrefix(), resolver.NewEtcdBuilder("etcd", jupiterKey), v)
}
