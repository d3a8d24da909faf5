package main

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// plain is the etcd client by itself, as its documentation uses it: nothing registers again, nothing reads again.
type plain struct{ client peer.Client }

func (p *plain) Register(s peer.Settings) (func() error, error) {
	client, err := p.client.Dial(s)
	if err != nil {
		return nil, err
	}
	id, err := peer.Lease(client, s.TTL)
	if err != nil {
		return nil, err
	}
	if _, err := client.Put(context.Background(), s.Service+"/"+s.ID, s.Addr, clientv3.WithLease(id)); err != nil {
		return nil, err
	}
	return func() error {
		_, err := client.Revoke(context.Background(), id)
		return err
	}, nil
}

func (p *plain) watch(ctx context.Context, s settings, v *view) error {
	client, err := p.client.Dial(s.Settings)
	if err != nil {
		return err
	}
	prefix := s.Service + "/"
	all, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	known := map[string]string{}
	for _, kv := range all.Kvs {
		known[string(kv.Key)] = string(kv.Value)
	}
	v.show(all.Header.Revision, values(known))
	for changes := range client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(all.Header.Revision+1)) {
		if err := changes.Err(); err != nil {
			v.failed(err)
		}
		for _, e := range changes.Events {
			if e.Type == clientv3.EventTypePut {
				known[string(e.Kv.Key)] = string(e.Kv.Value)
			} else {
				delete(known, string(e.Kv.Key))
			}
		}
		if len(changes.Events) > 0 {
			v.show(changes.Header.Revision, values(known))
		}
	}
	if ctx.Err() == nil {
		v.failed(fmt.Errorf("the watch is over"))
	}
	return nil
}

func values(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}
