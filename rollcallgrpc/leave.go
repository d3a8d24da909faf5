package rollcallgrpc

import (
	"context"
	"time"

	"github.com/rollcall-io/rollcall"
)

// etcdPatience bounds each thing that etcd is told at the end, and a Register that is under way then.
const etcdPatience = 2 * time.Second

// leave takes the server out of service in the order that fails no call: callers are told, and given time to hear it,
// before anything is refused; and new callers no longer find it once it does.
func (s *server) leave(ctx context.Context, r *rollcall.Registration, delay time.Duration) {
	ctx = context.WithoutCancel(ctx) // what ended the server must not end its goodbye
	if s.health != nil {
		s.health.Shutdown()
	}
	if r != nil {
		if delay > 0 {
			s.tell(ctx, r, "drain", r.Drain)
			pause(ctx, delay)
		}
		s.tell(ctx, r, "deregister", r.Deregister)
	}
	s.stop()
}

// tell has etcd told of a step, unless the registration has ended. That etcd does not answer must not keep the server:
// the key then expires.
func (s *server) tell(ctx context.Context, r *rollcall.Registration, step string, do func(context.Context) error) {
	if r.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, etcdPatience)
	defer cancel()
	if err := do(ctx); err != nil {
		s.logger.Warn("leaving, but etcd could not be told", "step", step, "service", s.service, "err", err)
	} else {
		s.logger.Info("leaving, and etcd was told", "step", step, "service", s.service)
	}
}

// stop lets the calls under way finish, and cuts them off when the stop timeout is over. A handler that ignores even
// that keeps GracefulStop waiting: this goroutine alone is not waited for, or the handler would keep the server.
func (s *server) stop() {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.srv.GracefulStop()
	}()
	late := time.NewTimer(s.stopTimeout)
	defer late.Stop()
	select {
	case <-stopped:
	case <-late.C:
		s.srv.Stop()
	}
}
