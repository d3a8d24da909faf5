package rollcall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// operationTimeout bounds one request to etcd; the call that it is part of goes on as long as its context allows.
const operationTimeout = 3 * time.Second

// Remove deletes an instance whoever registered it, at the revision at which it is read: what is written in between
// stays, and the error is [ErrReplaced]. An absent instance is no error.
//
// It is meant for what a dead or foreign writer left behind. A live registration puts its key back at once; to take a
// live instance out of service, drain it or end its process.
func (r *Registry) Remove(ctx context.Context, service, id string) error {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	if err == nil {
		err = r.engine.remove(ctx, service, id)
	}
	if err != nil {
		return fmt.Errorf("remove %s/%s: %w", service, id, err)
	}
	return nil
}

// RemoveDead is Remove for what is dead only: an instance without a lease, or one whose lease nobody has renewed for more than half of its
// time, which is what is left of a process that died or lost etcd. A live one is refused with [ErrAlive]; without one the error is [ErrNotFound].
// Who removes it, and why, is for the history. It returns the instance as it was last.
func (r *Registry) RemoveDead(ctx context.Context, service, id string, by By) (*Instance, error) {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	if err == nil {
		err = by.validate()
	}
	var last *Instance
	if err == nil {
		last, err = r.engine.removeDead(ctx, service, id, by)
	}
	if err != nil {
		return nil, fmt.Errorf("remove %s/%s: %w", service, shorten(id), err)
	}
	return last, nil
}

// removeDead implements [engine].
func (r *etcd) removeDead(ctx context.Context, service, id string, by By) (last *Instance, err error) {
	key := r.layout.key(service, id)
	err = r.call(ctx, func(ctx context.Context, conn *wire.Conn) error {
		found, err := conn.KV().Get(ctx, key)
		switch {
		case err != nil:
			return err
		case len(found.Kvs) == 0 && last != nil:
			return nil // by a try whose answer was lost
		case len(found.Kvs) == 0:
			return ErrNotFound
		}
		item := found.Kvs[0]
		if alive, err := renewed(ctx, conn, item.Lease); alive || err != nil {
			return cmp.Or(err, ErrAlive)
		}
		last = &Instance{ID: id}
		if i, err := decodeInstance(id, item.Value); err == nil {
			last = i
		}
		mod, err := sayGoodbye(ctx, conn.KV(), id, item, by)
		if err != nil {
			return err
		}
		return deleteAt(ctx, conn.KV(), key, mod)
	})
	if err != nil {
		return nil, err
	}
	return last, nil
}

// renewed reports whether somebody renews a lease: heartbeats come every third of its time.
func renewed(ctx context.Context, conn *wire.Conn, id int64) (bool, error) {
	if id == 0 {
		return false, nil
	}
	resp, err := pb.NewLeaseClient(conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id})
	return err == nil && resp.TTL > resp.GrantedTTL/2, err
}

// remove implements [engine].
func (r *etcd) remove(ctx context.Context, service, id string) error {
	key := r.layout.key(service, id)
	return r.try(ctx, func(ctx context.Context) error { return r.removeKey(ctx, id, key) })
}

func (r *etcd) removeKey(ctx context.Context, id, key string) error {
	conn, err := r.streams.Conn()
	if err != nil {
		return err
	}
	call, cancel := conn.Call(ctx, operationTimeout)
	defer cancel()
	err = removeWith(call, conn.KV(), id, key)
	if err != nil && !wire.IsRefusal(err) && !errors.Is(err, ErrReplaced) && ctx.Err() == nil {
		r.streams.Drop(conn)
	}
	return err
}

func removeWith(ctx context.Context, kv clientv3.KV, id, key string) error {
	found, err := kv.Get(ctx, key)
	if err != nil || len(found.Kvs) == 0 {
		return err
	}
	mod, err := sayGoodbye(ctx, kv, id, found.Kvs[0], By{})
	if err != nil {
		return err
	}
	return deleteAt(ctx, kv, key, mod)
}

// deleteAt deletes a key that is still as of a revision.
func deleteAt(ctx context.Context, kv clientv3.KV, key string, mod int64) error {
	resp, err := kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", mod)).
		Then(clientv3.OpDelete(key)).Commit()
	if err == nil && !resp.Succeeded {
		return ErrReplaced
	}
	return err
}

// sayGoodbye writes the farewell over a value, with who says it for the instance, and returns the revision to delete. A value that
// cannot be read, or a farewell that etcd refuses, goes without.
func sayGoodbye(ctx context.Context, kv clientv3.KV, id string, item *mvccpb.KeyValue, by By) (mod int64, err error) {
	i, err := decodeInstance(id, item.Value)
	if err != nil || i.State == stateLeaving {
		return item.ModRevision, nil
	}
	farewell, err := i.farewell()
	if err == nil {
		farewell, err = signed(farewell, by)
	}
	if err != nil {
		return item.ModRevision, nil
	}
	return overwrite(ctx, kv, item, farewell, errors.Join(ErrReplaced, errChanged))
}

var errChanged = errors.New("it was written again while it was to be removed")
