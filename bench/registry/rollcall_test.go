//go:build linux

package registry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
)

// ours is rollcall.
type ours struct {
	mu   sync.Mutex
	late []*rollcall.Registry // that hold, and have not been seen to renew; guarded by mu
}

func (o *ours) list(ctx context.Context, j job) (n int, held any, err error) {
	opts := []rollcall.Option{rollcall.WithPrefix(j.Prefix)}
	if j.Service == "" {
		opts = append(opts, rollcall.WithFollowAll())
	}
	reg, err := rollcall.Open(rollcall.ClientConfig(j.Endpoint), opts...)
	if err != nil {
		return 0, nil, err
	}
	if j.Service != "" {
		view, err := reg.Watch(j.Service).Next(ctx)
		if err != nil {
			return 0, nil, err
		}
		return len(view.Instances), reg, nil
	}
	overview, err := reg.WatchServices().Next(ctx)
	if err != nil {
		return 0, nil, err
	}
	if !overview.Complete {
		return 0, nil, fmt.Errorf("the first overview is not complete")
	}
	for _, view := range overview.Services {
		n += len(view.Instances)
	}
	return n, reg, nil
}

func (o *ours) hold(ctx context.Context, j job) error {
	return j.programs(func(client int) error {
		reg, err := rollcall.Open(rollcall.ClientConfig(j.Endpoint))
		if err != nil {
			return err
		}
		o.mu.Lock()
		o.late = append(o.late, reg)
		o.mu.Unlock()
		return each(j.Each, 1000, func(i int) error {
			n := client*j.Each + i
			_, err := reg.Register(ctx, service(n/perService), rollcall.Instance{Addr: addr(n)}, rollcall.WithTTL(j.TTL))
			return err
		})
	})
}

func (o *ours) watch(ctx context.Context, j job, seen func(client int)) error {
	return j.programs(func(client int) error {
		reg, err := rollcall.Open(rollcall.ClientConfig(j.Endpoint))
		if err != nil {
			return err
		}
		w := reg.Watch(service(client % j.Groups))
		if _, err := w.Next(ctx); err != nil {
			return err
		}
		go func() {
			for view, err := range w.Views(ctx) {
				if err != nil {
					return
				}
				if _, there := view.Get(markerAddr); there {
					seen(client)
				}
			}
		}()
		return nil
	})
}

func (o *ours) unrenewed(since time.Time) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.late = slices.DeleteFunc(o.late, func(reg *rollcall.Registry) bool {
		late := slices.ContainsFunc(reg.Status().Leases, func(l rollcall.LeaseStatus) bool { return !l.LastHeartbeat.After(since) })
		return !late
	})
	return len(o.late), nil
}
