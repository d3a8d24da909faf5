//go:build linux

package registry

import (
	"context"
	"slices"
	"time"

	etcd "github.com/go-kratos/kratos/contrib/registry/etcd/v2"
	"github.com/go-kratos/kratos/v2/registry"
)

// kratos is its registry on etcd, of which a program has one, with a client that the program made.
type kratos struct{}

func (kratos) open(endpoint string, ttl time.Duration) (*etcd.Registry, error) {
	client, err := plainClient(endpoint)
	if err != nil {
		return nil, err
	}
	return etcd.New(client, etcd.RegisterTTL(ttl)), nil
}

func (k kratos) list(ctx context.Context, j job) (n int, held any, err error) {
	if j.Service == "" {
		return 0, nil, errNotMeasured
	}
	reg, err := k.open(j.Endpoint, 0)
	if err != nil {
		return 0, nil, err
	}
	view, err := reg.GetService(ctx, j.Service)
	return len(view), view, err
}

func (k kratos) hold(ctx context.Context, j job) error {
	return j.programs(func(client int) error {
		reg, err := k.open(j.Endpoint, j.TTL)
		if err != nil {
			return err
		}
		for i := range j.Each { // its registry is not made for two at a time
			n := client*j.Each + i
			instance := &registry.ServiceInstance{ID: addr(n), Name: service(n / perService), Endpoints: []string{"grpc://" + addr(n)}}
			if err := reg.Register(ctx, instance); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k kratos) watch(ctx context.Context, j job, seen func(client int)) error {
	return j.programs(func(client int) error {
		reg, err := k.open(j.Endpoint, 0)
		if err != nil {
			return err
		}
		w, err := reg.Watch(ctx, service(client%j.Groups))
		if err == nil {
			_, err = w.Next()
		}
		if err != nil {
			return err
		}
		go func() {
			for {
				view, err := w.Next()
				if err != nil {
					select {
					case <-time.After(time.Second): // as its resolver does
						continue
					case <-ctx.Done():
						return
					}
				}
				if slices.ContainsFunc(view, func(i *registry.ServiceInstance) bool { return i.ID == markerAddr }) {
					seen(client)
				}
			}
		}()
		return nil
	})
}

func (kratos) unrenewed(time.Time) (int, error) { return 0, errNotMeasured }
