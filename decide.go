package rollcall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// overrideGrace is how long an override's key outlives its end: readers go by the value, the lease only clears up.
const overrideGrace = time.Minute

// setOverride implements [engine].
func (r *etcd) setOverride(ctx context.Context, service, id string, o Override) (Override, error) {
	value, err := o.encode()
	if err != nil {
		return o, err
	}
	var lease time.Duration
	if !o.Until.IsZero() {
		lease = time.Until(o.Until) + overrideGrace
	}
	o.Revision, err = r.steer(ctx, r.layout.overrideKey(service, id), value, o.Revision, lease)
	return o, err
}

// deleteOverride implements [engine].
func (r *etcd) deleteOverride(ctx context.Context, service, id string, revision int64, by By) error {
	return r.takeBack(ctx, r.layout.overrideKey(service, id), revision, by)
}

// override implements [engine].
func (r *etcd) override(ctx context.Context, service, id string) (o *Override, err error) {
	err = r.read(ctx, r.layout.overrideKey(service, id), func(value []byte, revision int64) error {
		var err error
		if o, err = decodeOverride(value); err == nil {
			o.Revision = revision
		}
		return err
	})
	return o, err
}

// setPolicy implements [engine].
func (r *etcd) setPolicy(ctx context.Context, service string, p Policy) (Policy, error) {
	value, err := p.encode()
	if err != nil {
		return p, err
	}
	p.Revision, err = r.steer(ctx, r.layout.policyKey(service), value, p.Revision, 0)
	return p, err
}

// deletePolicy implements [engine].
func (r *etcd) deletePolicy(ctx context.Context, service string, revision int64, by By) error {
	return r.takeBack(ctx, r.layout.policyKey(service), revision, by)
}

// takeBack deletes a key if it is still as of the given revision. Who does it, if he says so, is written over the value first: a delete says
// nothing, and the history is to know.
func (r *etcd) takeBack(ctx context.Context, key string, revision int64, by By) error {
	if by == (By{}) {
		_, err := r.steer(ctx, key, nil, revision, 0)
		return err
	}
	var last int64 // that we wrote, perhaps
	return r.call(ctx, func(ctx context.Context, conn *wire.Conn) error {
		found, err := conn.KV().Get(ctx, key)
		if err != nil || len(found.Kvs) == 0 {
			return err
		}
		item := found.Kvs[0]
		if revision != AnyRevision && item.ModRevision != revision && (last == 0 || byOf(item.Value) != by) {
			return &ConflictError{Wanted: revision, Found: item.ModRevision}
		}
		last = item.ModRevision
		mod, err := sign(ctx, conn.KV(), item, by)
		if err != nil {
			return err
		}
		_, err = write(ctx, conn.KV(), key, nil, mod, 0, false)
		return err
	})
}

// sign writes over a value who takes it away, and returns the revision to delete. A value that is no object, or that etcd has no room
// for, goes unsigned.
func sign(ctx context.Context, kv clientv3.KV, item *mvccpb.KeyValue, by By) (mod int64, err error) {
	if byOf(item.Value) == by {
		return item.ModRevision, nil
	}
	value, err := signed(item.Value, by)
	if err != nil {
		return item.ModRevision, nil
	}
	return overwrite(ctx, kv, item, value, &ConflictError{Wanted: item.ModRevision})
}

// overwrite writes a last word over a value that is about to go, under the lease that it has, and returns the revision to delete. Where etcd
// refuses it, for want of room say, the value goes without; conflict is the error for one that somebody else has written meanwhile.
func overwrite(ctx context.Context, kv clientv3.KV, item *mvccpb.KeyValue, value []byte, conflict error) (mod int64, err error) {
	key := string(item.Key)
	resp, err := kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", item.ModRevision)).
		Then(clientv3.OpPut(key, string(value), clientv3.WithIgnoreLease())).Commit()
	switch {
	case err != nil && wire.IsRefusal(err):
		return item.ModRevision, nil
	case err != nil:
		return 0, err
	case !resp.Succeeded:
		return 0, conflict
	}
	return resp.Header.Revision, nil
}

// policy implements [engine].
func (r *etcd) policy(ctx context.Context, service string) (p *Policy, err error) {
	err = r.read(ctx, r.layout.policyKey(service), func(value []byte, revision int64) error {
		var err error
		if p, err = decodePolicy(value); err == nil {
			p.Revision = revision
		}
		return err
	})
	return p, err
}

// accept implements [engine].
func (r *etcd) accept(ctx context.Context, service, reason, author string) error {
	value, err := json.Marshal(overrideRecord{Reason: reason, Author: author, Since: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	_, err = r.steer(ctx, r.layout.controlDir(service)+acceptName, value, AnyRevision, 0)
	return err
}

// read reads one key, until etcd answers or ctx ends.
func (r *etcd) read(ctx context.Context, key string, take func(value []byte, revision int64) error) error {
	return r.call(ctx, func(ctx context.Context, conn *wire.Conn) error {
		found, err := conn.KV().Get(ctx, key)
		if err != nil {
			return err
		}
		if len(found.Kvs) == 0 {
			return ErrNotFound
		}
		return take(found.Kvs[0].Value, found.Kvs[0].ModRevision)
	})
}

// steer writes a key of ours, or deletes it when value is nil, if it is still as of the given revision.
func (r *etcd) steer(ctx context.Context, key string, value []byte, revision int64, lease time.Duration) (written int64, err error) {
	var id clientv3.LeaseID
	tried := false // once before, and nobody knows how it ended
	err = r.call(ctx, func(ctx context.Context, conn *wire.Conn) error {
		if lease > 0 && id == 0 {
			granted, err := pb.NewLeaseClient(conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: int64(lease / time.Second)})
			if err != nil {
				return err
			}
			id = clientv3.LeaseID(granted.ID)
		}
		written, err = write(ctx, conn.KV(), key, value, revision, id, tried)
		tried = true
		return err
	})
	if errors.Is(err, ErrConflict) && id != 0 { // nothing lies under it
		_ = r.call(ctx, func(ctx context.Context, conn *wire.Conn) error {
			_, err := pb.NewLeaseClient(conn).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: int64(id)})
			return err
		})
	}
	return written, err
}

// write makes one conditional write. When it was tried before, it knows one whose answer was lost by what lies there; else that is
// somebody else's who had the same thought.
func write(ctx context.Context, kv clientv3.KV, key string, value []byte, revision int64, lease clientv3.LeaseID, tried bool) (int64, error) {
	var conditions []clientv3.Cmp
	if revision != AnyRevision {
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
	}
	op := clientv3.OpPut(key, string(value), clientv3.WithLease(lease))
	if value == nil {
		op = clientv3.OpDelete(key)
	}
	resp, err := kv.Txn(ctx).If(conditions...).Then(op).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	found := resp.Responses[0].GetResponseRange().Kvs
	switch {
	case len(found) == 0 && value == nil:
		return 0, nil // gone already
	case len(found) == 0:
		return 0, &ConflictError{Wanted: revision}
	case tried && value != nil && bytes.Equal(found[0].Value, value):
		return found[0].ModRevision, nil
	}
	return 0, &ConflictError{Wanted: revision, Found: found[0].ModRevision}
}

// call does something on a connection to etcd, again on the next one when that fails, until ctx ends.
func (r *etcd) call(ctx context.Context, do func(context.Context, *wire.Conn) error) error {
	return r.try(ctx, func(ctx context.Context) error {
		conn, err := r.streams.Conn()
		if err != nil {
			return err
		}
		limited, cancel := conn.Call(ctx, operationTimeout)
		defer cancel()
		err = do(limited, conn)
		if err != nil && !settled(err) && ctx.Err() == nil {
			r.streams.Drop(conn)
		}
		return err
	})
}

// settled reports whether to ask again would change nothing.
func settled(err error) bool {
	return wire.IsRefusal(err) || errors.Is(err, ErrReplaced) || errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrAlive) || errors.Is(err, ErrRevision) || unreadableValue(err)
}

// unreadableValue reports whether a value in etcd is not what it is to be.
func unreadableValue(err error) bool {
	if _, is := errors.AsType[*json.SyntaxError](err); is {
		return true
	}
	if _, is := errors.AsType[*json.UnmarshalTypeError](err); is {
		return true
	}
	return errors.Is(err, ErrInvalid) || errors.Is(err, errTooLarge) || errors.Is(err, errNoOverride)
}
