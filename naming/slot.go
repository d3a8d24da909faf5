package naming

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall"
)

// place is an address under a target.
type place struct{ target, addr string }

// slot is what this process holds at a place. Calls for one place take turns: of two adds at the same time, or an add and
// a delete, one comes after the other, here and in etcd.
type slot struct {
	place place
	turn  chan struct{}          // of capacity 1: full while a call has the turn
	users int                    // calls that have the turn or wait for it; guarded by the registry's mu
	held  *rollcall.Registration // the last one, ended or not; nil: none. Touched by the call that has the turn
}

// enter waits for the turn at a place.
func (r *Registry) enter(ctx context.Context, p place) (*slot, error) {
	r.mu.Lock()
	s := r.slots[p]
	if s == nil {
		s = &slot{place: p, turn: make(chan struct{}, 1)}
		r.slots[p] = s
	}
	s.users++
	r.mu.Unlock()
	select {
	case s.turn <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		r.forsake(s)
		return nil, fmt.Errorf("%s/%s: wait for another call on this address: %w", p.target, p.addr, context.Cause(ctx))
	}
}

// leave gives the turn to the next call.
func (r *Registry) leave(s *slot) {
	r.forsake(s)
	<-s.turn
}

// forsake strikes a call off a slot, and drops a slot that nobody uses and that holds nothing. With no other call on the
// slot, what it holds may be looked at.
func (r *Registry) forsake(s *slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.users--
	if s.users == 0 && s.held == nil {
		delete(r.slots, s.place)
	}
}

// add registers the address, or changes the registration that is there.
func (s *slot) add(ctx context.Context, reg *rollcall.Registry, service string, inst rollcall.Instance, ttl time.Duration) error {
	if s.held != nil && s.held.Instance().TTL == ttl {
		err := s.held.Update(ctx, func(i *rollcall.Instance) { i.Metadata, i.RawMetadata = nil, inst.RawMetadata })
		if s.held.Err() == nil {
			return err
		}
		// It has ended: taken over by another process, or given back by a delete.
	}
	held, err := reg.Register(ctx, service, inst, rollcall.WithTTL(ttl))
	if err != nil {
		return err
	}
	s.held = held
	return nil
}

// delete ends the registration that is there, or removes what somebody else left.
func (s *slot) delete(ctx context.Context, reg *rollcall.Registry, service, addr string) error {
	if s.held == nil {
		return reg.Remove(ctx, service, addr)
	}
	// Not forgotten before it is done: a further delete waits for this one.
	if err := s.held.Deregister(ctx); err != nil {
		return err
	}
	s.held = nil
	return nil
}
