package rollcall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// AnyRevision, as the Revision of what is written or deleted, replaces whatever is there.
const AnyRevision = -1

// overrideGrace is how long an override's key outlives its end: readers go by the value, the lease only clears up.
const overrideGrace = time.Minute

// SetOverride writes an operator's decision for one instance, which need not be registered. It counts for every caller of the service, also
// after the instance's restart, until it is deleted or its time is up.
//
// It replaces only what it was made from: the override of o.Revision, or none when that is 0; [AnyRevision] replaces whatever is
// there. Anything else is a [ConflictError], which matches [ErrConflict]: read again, and decide again. The override is returned as it was
// written, with its new revision.
func (r *Registry) SetOverride(ctx context.Context, service, id string, o Override) (Override, error) {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	now := time.Now()
	if err == nil {
		err = o.validate(now)
	}
	if err == nil {
		o.Since = now.UTC().Truncate(time.Second)
		o.Until = o.Until.UTC()
		var value []byte
		if value, err = o.encode(); err == nil {
			var lease time.Duration
			if !o.Until.IsZero() {
				lease = o.Until.Sub(now) + overrideGrace
			}
			o.Revision, err = r.steer(ctx, r.layout.overrideKey(service, id), value, o.Revision, lease)
		}
	}
	if err != nil {
		return Override{}, fmt.Errorf("override %s/%s: %w", service, id, err)
	}
	return o, nil
}

// DeleteOverride takes an operator's decision back, if it is still the one of the given revision, or [AnyRevision]. An override that is
// not there is no error.
func (r *Registry) DeleteOverride(ctx context.Context, service, id string, revision int64) error {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	if err == nil {
		_, err = r.steer(ctx, r.layout.overrideKey(service, id), nil, revision, 0)
	}
	if err != nil {
		return fmt.Errorf("undo override %s/%s: %w", service, id, err)
	}
	return nil
}

// Override reads an operator's decision for one instance from etcd. Without one the error is [ErrNotFound].
func (r *Registry) Override(ctx context.Context, service, id string) (Override, error) {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	var o *Override
	if err == nil {
		err = r.read(ctx, r.layout.overrideKey(service, id), func(value []byte, revision int64) error {
			var err error
			if o, err = decodeOverride(value); err == nil {
				o.Revision = revision
			}
			return err
		})
	}
	if err != nil {
		return Override{}, fmt.Errorf("override of %s/%s: %w", service, id, err)
	}
	return *o, nil
}

// SetPolicy writes what an operator decided for all callers of a service, which need not have instances. It reaches callers that run as an
// instance that joins does. Conflicts are those of [Registry.SetOverride]; what breaks a rule is an [InvalidError].
func (r *Registry) SetPolicy(ctx context.Context, service string, p Policy) (Policy, error) {
	err := r.check(service)
	if err == nil {
		err = p.Validate()
	}
	if err == nil {
		p.Since = time.Now().UTC().Truncate(time.Second)
		var value []byte
		if value, err = p.encode(); err == nil {
			p.Revision, err = r.steer(ctx, r.layout.policyKey(service), value, p.Revision, 0)
		}
	}
	if err != nil {
		return Policy{}, fmt.Errorf("policy of %s: %w", service, err)
	}
	return p, nil
}

// DeletePolicy takes a service's policy back, if it is still the one of the given revision, or [AnyRevision]: callers return to what they
// decide themselves. A policy that is not there is no error.
func (r *Registry) DeletePolicy(ctx context.Context, service string, revision int64) error {
	err := r.check(service)
	if err == nil {
		_, err = r.steer(ctx, r.layout.policyKey(service), nil, revision, 0)
	}
	if err != nil {
		return fmt.Errorf("delete policy of %s: %w", service, err)
	}
	return nil
}

// Policy reads a service's policy from etcd. Without one the error is [ErrNotFound].
func (r *Registry) Policy(ctx context.Context, service string) (Policy, error) {
	err := r.check(service)
	var p *Policy
	if err == nil {
		err = r.read(ctx, r.layout.policyKey(service), func(value []byte, revision int64) error {
			var err error
			if p, err = decodePolicy(value); err == nil {
				p.Revision = revision
			}
			return err
		})
	}
	if err != nil {
		return Policy{}, fmt.Errorf("policy of %s: %w", service, err)
	}
	return *p, nil
}

// Accept has every caller believe the losses that it doubts now: suspects leave the views. What is lost later is doubted again.
func (r *Registry) Accept(ctx context.Context, service, reason, author string) error {
	err := r.check(service)
	if err == nil {
		err = Policy{Reason: reason, Author: author}.Validate()
	}
	if err == nil {
		value, _ := json.Marshal(overrideRecord{Reason: reason, Author: author, Since: time.Now().UTC().Truncate(time.Second)})
		_, err = r.steer(ctx, r.layout.controlDir(service)+"accept", value, AnyRevision, 0)
	}
	if err != nil {
		return fmt.Errorf("accept the losses of %s: %w", service, err)
	}
	return nil
}

// read reads one key, until etcd answers or ctx ends.
func (r *Registry) read(ctx context.Context, key string, take func(value []byte, revision int64) error) error {
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
func (r *Registry) steer(ctx context.Context, key string, value []byte, revision int64, lease time.Duration) (written int64, err error) {
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
func (r *Registry) call(ctx context.Context, do func(context.Context, *wire.Conn) error) error {
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
	return wire.IsRefusal(err) || errors.Is(err, ErrReplaced) || errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) || unreadableValue(err)
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
