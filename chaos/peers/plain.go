package main

import (
	"context"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// plain is the etcd client by itself, as its documentation uses it: nothing registers again, nothing reads again.
type plain struct{ dialer }

// lease is a lease that the client keeps alive.
func lease(client *clientv3.Client, ttl time.Duration) (clientv3.LeaseID, error) {
	granted, err := client.Grant(context.Background(), int64(ttl.Seconds()))
	if err != nil {
		return 0, err
	}
	alive, err := client.KeepAlive(context.Background(), granted.ID)
	if err != nil {
		return 0, err
	}
	go func() {
		for range alive {
		}
		log.Printf("the lease is no longer kept alive")
	}()
	return granted.ID, nil
}

func (p *plain) register(s settings) (func() error, error) {
	client, err := p.dial(s)
	if err != nil {
		return nil, err
	}
	id, err := lease(client, s.ttl)
	if err != nil {
		return nil, err
	}
	if _, err := client.Put(context.Background(), s.service+"/"+s.id, s.addr, clientv3.WithLease(id)); err != nil {
		return nil, err
	}
	return func() error {
		_, err := client.Revoke(context.Background(), id)
		return err
	}, nil
}

func (p *plain) watch(ctx context.Context, s settings, v *view) error {
	client, err := p.dial(s)
	if err != nil {
		return err
	}
	prefix := s.service + "/"
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
