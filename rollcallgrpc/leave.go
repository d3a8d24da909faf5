package rollcallgrpc

import (
	"context"
	"time"

	"github.com/rollcall-io/rollcall"
)

const (
	// etcdPatience bounds each thing that etcd is told at the end, and a Register that is under way then.
	etcdPatience = 2 * time.Second

	// lostPatience is what is left of it for an etcd that did not answer a moment ago.
	lostPatience = 200 * time.Millisecond

	// quiet is how long no call must have begun for callers to have heard that the server drains. A change takes a view some
	// milliseconds; the rest is for a network and machines that are busy.
	quiet     = 250 * time.Millisecond
	quietTick = 10 * time.Millisecond
)

// leave takes the server out of service in the order that fails no call: callers are told, and given time to hear it,
// before anything is refused; and new callers no longer find it once it does. All of it is cut short when ctx ends.
func (s *server) leave(ctx context.Context, r *rollcall.Registration, broken bool) {
	s.tellServing(false)
	if r != nil && r.Err() == nil {
		s.goodbye(ctx, r, broken)
	}
	s.stop(ctx)
}

// goodbye tells callers by way of etcd. When etcd does not answer there is nobody who could hear it, and no reason to wait.
func (s *server) goodbye(ctx context.Context, r *rollcall.Registration, broken bool) {
	patience := etcdPatience
	if r.Status().State == rollcall.Healing {
		patience = lostPatience
	}
	if !broken && s.mostDrainDelay() > 0 {
		if s.tell(ctx, r, "drain", patience, r.Drain) {
			s.settle(ctx)
		} else {
			patience = lostPatience
		}
	}
	s.tell(ctx, r, "deregister", patience, r.Deregister)
}

// tell has etcd told of a step, unless the registration has ended, and reports whether it was. That etcd does not answer must not
// keep the server: the key then expires.
func (s *server) tell(ctx context.Context, r *rollcall.Registration, step string, patience time.Duration, do func(context.Context) error) bool {
	if r.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := do(ctx); err != nil {
		s.logger.Warn("leaving, but etcd could not be told", "step", step, "service", s.service, "err", err)
		return false
	}
	s.logger.Info("leaving, and etcd was told", "step", step, "service", s.service)
	return true
}

// settle waits until callers have heard that the server drains: until no new call has begun for a while, if calls are counted.
func (s *server) settle(ctx context.Context) {
	most := s.mostDrainDelay()
	if s.calls == nil {
		pause(ctx, most)
		return
	}
	seen, since := s.calls.Begun(), time.Now()
	for began := since; time.Since(began) < most && pause(ctx, quietTick); {
		if n := s.calls.Begun(); n != seen {
			seen, since = n, time.Now()
		} else if time.Since(since) >= quiet {
			return
		}
	}
	if ctx.Err() == nil {
		s.logger.Warn("leaving, though calls still come", "service", s.service, "waited", most)
	}
}

// stop lets the calls under way finish, and cuts them off when the stop timeout is over.
func (s *server) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.stopTimeout)
	defer cancel()
	if err := s.srv.Shutdown(ctx); err != nil {
		s.logger.Warn("stopped, and calls under way were cut off", "service", s.service, "err", err)
	}
	_ = s.srv.Close()
}
