package simulation

import (
	"context"
	"time"

	"github.com/rollcall-io/rollcall"
)

// operation is something that users do, or that happens to them.
type operation struct {
	name string
	do   func(*race, context.Context) error
	fate fate          // of the message at the point, if it is a message that this is about
	late time.Duration // by which the message is held up beside

	// Why other operations may fail when this one comes across them, beside those that never may.
	because []error
}

var (
	registers = operation{name: "register", because: []error{rollcall.ErrReplaced}, do: func(r *race, ctx context.Context) error {
		r.taken.Store(true)
		return r.register(ctx, r.registry, "10.0.0.1:1")
	}}
	registersOther = operation{name: "register another", because: []error{rollcall.ErrReplaced}, do: func(r *race, ctx context.Context) error {
		return r.register(ctx, r.registry, "10.0.0.2:1")
	}}
	contenders = operation{name: "rival", because: []error{rollcall.ErrReplaced}, do: func(r *race, ctx context.Context) error {
		r.taken.Store(true)
		r.meddled.Store(true)
		return r.register(ctx, r.open(), "10.0.0.1:1")
	}}
	updates = operation{name: "update", do: func(r *race, ctx context.Context) error {
		g := r.first()
		return r.confirms(g, `"Weight":7,`, g.Update(ctx, func(i *rollcall.Instance) { i.Weight = 7 }))
	}}
	drains = operation{name: "drain", do: func(r *race, ctx context.Context) error {
		return r.confirms(r.first(), `"State":"draining"`, r.first().Drain(ctx))
	}}
	leaves = operation{name: "deregister", because: []error{rollcall.ErrDeregistered}, do: func(r *race, ctx context.Context) error {
		return r.confirms(r.first(), "", r.first().Deregister(ctx))
	}}
	closes = operation{name: "close", because: []error{rollcall.ErrClosed}, do: func(r *race, ctx context.Context) error {
		r.meddled.Store(true)
		err := r.registry.Close(ctx)
		if err == nil {
			err = r.vanished()
		}
		return err
	}}
	looks = operation{name: "look up", do: func(r *race, ctx context.Context) error {
		_, err := r.registry.Lookup(ctx, "svc")
		return err
	}}
	watches = operation{name: "watch", do: func(r *race, ctx context.Context) error {
		w := r.registry.Watch("svc")
		defer w.Close()
		_, err := w.Next(ctx)
		return err
	}}
	lives = operation{name: "live", do: func(*race, context.Context) error {
		time.Sleep(11 * time.Second) // with two or three heartbeats
		return nil
	}}

	// What becomes of a registration that others do something to: it heals, in the time given.
	healsFrom = func(what operation, within time.Duration) operation {
		return operation{name: "heal after " + what.name, do: func(r *race, ctx context.Context) error {
			_ = what.do(r, ctx)
			time.Sleep(within)
			return nil
		}}
	}

	cancels = operation{name: "cancel", because: []error{context.Canceled}, do: func(r *race, _ context.Context) error {
		r.cancel()
		return nil
	}}
	loses     = operation{name: "lose a message", fate: breaks}
	swallows  = operation{name: "lose a message in silence", fate: falls}
	cutsShort = operation{name: "cut", do: func(r *race, _ context.Context) error {
		for _, m := range r.cluster.Members() {
			m.Cut()
			time.AfterFunc(500*time.Millisecond, m.Heal)
		}
		return nil
	}}
	cutsMember = operation{name: "cut the member for good", do: func(r *race, _ context.Context) error {
		r.member().Cut()
		return nil
	}}
	hangsLeader = operation{name: "hang the leader for good", do: func(r *race, _ context.Context) error {
		r.cluster.Leader().Hang()
		return nil
	}}
	hangsMember = operation{name: "hang the member for good", do: func(r *race, _ context.Context) error {
		r.member().Hang()
		return nil
	}}
	revokes = operation{name: "revoke", do: func(r *race, _ context.Context) error {
		r.meddled.Store(true)
		for _, l := range r.cluster.Leases() {
			_ = r.cluster.RevokeLease(l)
		}
		return nil
	}}
	wipes = operation{name: "wipe", do: func(r *race, _ context.Context) error {
		r.meddled.Store(true)
		r.cluster.Wipe()
		return nil
	}}
	restarts = operation{name: "restart", do: func(r *race, _ context.Context) error {
		r.cluster.Restart()
		return nil
	}}
	deletes = operation{name: "delete the key", do: func(r *race, _ context.Context) error {
		r.meddled.Store(true)
		r.cluster.DeleteKey(raceDir + "10.0.0.1:1")
		return nil
	}}
)

// slowly makes an operation one that meets a message which takes its time.
func (o operation) slowly(late time.Duration) operation {
	o.name, o.late = o.name+", the message late by "+late.String(), late
	return o
}

// with makes an operation one that also costs the message at the point.
func (o operation) with(f fate) operation {
	o.name, o.fate = o.name+map[fate]string{breaks: ", the message lost", falls: ", the message lost in silence"}[f], f
	return o
}
