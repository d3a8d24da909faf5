package rollcall

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall-io/rollcall/internal/lease"
)

// held is a hold on a key in etcd.
type held struct {
	*lease.Hold
	r           *etcd
	incarnation string
}

// hold implements [engine].
func (r *etcd) hold(ctx context.Context, g *Registration, resume bool) (holding, error) {
	value, farewell, err := g.inst.encodeBoth()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	h, err := r.keeper.Hold(ctx, lease.Spec{
		Key: r.layout.key(g.service, g.inst.ID), TTL: int64(g.inst.TTL / time.Second),
		Incarnation: g.inst.Incarnation, Value: value, Farewell: farewell, Resume: resume,
	})
	return held{h, r, g.inst.Incarnation}, r.pending(ctx, began, err)
}

func (h held) want(i *Instance) error {
	value, farewell, err := i.encodeBoth()
	if err != nil {
		return err
	}
	return h.Want(value, farewell)
}

func (h held) await(ctx context.Context) error   { return h.pending(ctx, h.Await) }
func (h held) release(ctx context.Context) error { return h.pending(ctx, h.Release) }
func (h held) drop(ctx context.Context) error    { return h.pending(ctx, h.Drop) }

func (h held) pending(ctx context.Context, do func(context.Context) error) error {
	began := time.Now()
	return h.r.pending(ctx, began, do(ctx))
}

// pending turns the keeper's word for a call that ended too early into ours.
func (r *etcd) pending(ctx context.Context, began time.Time, err error) error {
	if errors.Is(err, lease.ErrPending) {
		st := r.keeper.Status()
		if st.LastErrorAt.Before(began) {
			st.LastError = nil // of another time
		}
		return r.unreachable(began, st.LastError, context.Cause(ctx))
	}
	return refused(err)
}

func (h held) Incarnation() string { return h.incarnation }
