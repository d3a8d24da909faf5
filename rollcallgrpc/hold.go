package rollcallgrpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rollcall-io/rollcall"
)

// Between two tries to register that etcd refused.
const (
	retryMin = time.Second
	retryMax = 30 * time.Second
)

// seenPatience is how long a watch may take to show what is registered.
const seenPatience = 2 * time.Second

// holder is the registration of one server, from the first try to make it.
type holder struct {
	wanted context.Context // ends when the server leaves
	leave  context.CancelFunc
	trying context.Context // ends when a Register under way is to give up: a little later
	giveUp context.CancelFunc

	ended        chan struct{}          // closed when hold has returned
	registration *rollcall.Registration // nil unless it was made; read when ended is closed
	err          error                  // why it ended by itself; read when ended is closed
}

func newHolder(ctx context.Context) *holder {
	h := &holder{ended: make(chan struct{})}
	h.wanted, h.leave = context.WithCancel(ctx)
	h.trying, h.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	return h
}

// letGo ends the holding, not the registration. A Register under way has some time to finish: callers may have seen the
// instance before we hear that it is registered, and then it must drain like any other. It gives up when ctx ends.
func (h *holder) letGo(ctx context.Context) {
	h.leave()
	select {
	case <-h.ended:
	case <-ctx.Done():
	}
	h.giveUp()
	<-h.ended
}

// hold registers the server, and returns when the registration has ended or the server leaves.
func (s *server) hold(h *holder) {
	defer close(h.ended)
	h.registration, h.err = s.keepTrying(h)
	if h.registration == nil {
		return
	}
	s.tellReady(h)
	select {
	case <-h.registration.Done():
		h.err = h.registration.Err()
	case <-h.wanted.Done():
	}
}

// tellReady tells who wants to know that the server is found. Following the service costs what a caller pays, so that nobody else does.
func (s *server) tellReady(h *holder) {
	if s.onReady == nil {
		return
	}
	inst := h.registration.Instance()
	ctx, cancel := context.WithTimeout(h.wanted, seenPatience)
	defer cancel()
	err := s.awaitSeen(ctx, inst)
	switch {
	case h.wanted.Err() != nil:
		return // it leaves already
	case err != nil:
		s.logger.Warn("registered, but no watch has seen it yet", "service", s.service, "instance", inst.ID, "err", err)
	default:
		s.logger.Info("registered, and seen by a watch", "service", s.service, "instance", inst.ID)
	}
	s.onReady(h.registration)
}

// awaitSeen waits until a view has the instance as it is registered.
func (s *server) awaitSeen(ctx context.Context, inst rollcall.Instance) error {
	w := s.reg.Watch(s.service)
	defer w.Close()
	for view, err := range w.Views(ctx) {
		if err != nil {
			return err
		}
		if seen, found := view.Get(inst.ID); found && seen.Incarnation == inst.Incarnation {
			return nil
		}
	}
	return ctx.Err()
}

// keepTrying tries until it succeeds, the server leaves, or there is no hope. An etcd out of reach is waited for by
// Register; what comes back from it is a refusal, such as that of an etcd that is full, which somebody may yet lift.
func (s *server) keepTrying(h *holder) (*rollcall.Registration, error) {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		r, err := s.reg.Register(h.trying, s.service, s.instance, s.register...)
		switch {
		case err == nil:
			return r, nil
		case h.wanted.Err() != nil:
			return nil, nil
		case errors.Is(err, rollcall.ErrInvalid), errors.Is(err, rollcall.ErrClosed), errors.Is(err, rollcall.ErrReplaced):
			return nil, err
		}
		s.logger.Warn("not registered, will try again", "service", s.service, "err", err)
		if !pause(h.wanted, wait/2+rand.N(wait/2)) {
			return nil, nil
		}
	}
}

// pause reports whether it lasted as long as it should, with ctx still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
