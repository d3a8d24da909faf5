package rollcallgrpc

import (
	"context"
	"time"

	"github.com/rollcall-io/rollcall"
)

const (
	// etcdPatience is how long etcd may take in all for what it is asked at the end: longer than it needs to elect another leader, 3 s
	// or so, which it does while a deploy goes on like at any other time.
	etcdPatience = 5600 * time.Millisecond

	// lostPatience is what is left, each time, for an etcd that has used that up, or has not answered for as long.
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
	if r.Status().State == rollcall.Healing {
		s.etcdLeft = 0
	}
	if !broken && s.mostDrainDelay() > 0 {
		if s.tell(ctx, r, "drain", r.Drain) {
			s.settle(ctx)
		} else {
			s.etcdLeft = 0
		}
	}
	s.tell(ctx, r, "deregister", r.Deregister)
}

// tell has etcd told of a step, unless the registration has ended, and reports whether it was. That etcd does not answer must not
// keep the server: the key then expires.
func (s *server) tell(ctx context.Context, r *rollcall.Registration, step string, do func(context.Context) error) bool {
	if r.Err() != nil {
		return false
	}
	var err error
	s.askEtcd(ctx, func(ctx context.Context) { err = do(ctx) })
	if err != nil {
		s.logger.Warn("leaving, but etcd could not be told", "step", step, "service", s.service, "err", err)
		return false
	}
	s.logger.Info("leaving, and etcd was told", "step", step, "service", s.service)
	return true
}

// askEtcd does something that waits for etcd, for no longer than is left of the patience with it. One that has not answered for a while
// already has used up as much.
func (s *server) askEtcd(ctx context.Context, do func(context.Context)) {
	patience := s.etcdLeft
	if since := s.reg.Status().UnreachableSince; !since.IsZero() {
		patience = min(patience, etcdPatience-time.Since(since))
	}
	ctx, cancel := context.WithTimeout(ctx, max(patience, lostPatience))
	defer cancel()
	began := time.Now()
	do(ctx)
	s.etcdLeft -= time.Since(began)
}

// settle waits until callers have heard that the server drains: until no new call has begun for a while, if calls are counted.
func (s *server) settle(ctx context.Context) {
	most := s.mostDrainDelay()
	if s.calls == nil {
		pause(ctx, most)
		return
	}
	// Counted in ticks, not by the clock: a process that was halted for a while has not listened meanwhile.
	still := time.Duration(0)
	before, began := s.calls.Begun(), time.Now()
	for seen := before; time.Since(began) < most && pause(ctx, quietTick); {
		if n := s.calls.Begun(); n != seen {
			seen, still = n, 0
		} else if still += quietTick; still >= quiet {
			return
		}
	}
	if ctx.Err() == nil && s.calls.Begun() != before {
		s.logger.Warn("leaving, though calls still come", "service", s.service, "waited", most)
	}
}

// stop lets the calls under way finish, and cuts them off when the stop timeout is over.
func (s *server) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.stopTimeout)
	defer cancel()
	if s.endWatches != nil {
		s.endWatches()
	}
	if err := s.srv.Shutdown(ctx); err != nil {
		s.logger.Warn("stopped, and calls under way were cut off", "service", s.service, "err", err)
	}
	_ = s.srv.Close()
}
