package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	// askWell is how often a server that starts asks itself whether it is well yet.
	askWell = 20 * time.Millisecond

	// stopMargin is what a stop takes at most beside calls under way.
	stopMargin = 10 * time.Second
)

// Supervisor is who started the process and wants to know how it is, in the words of systemd's sd_notify. The zero Supervisor is nobody.
type Supervisor struct {
	// Notify is told READY=1 when the server is well, WATCHDOG=1 as long as it answers, STOPPING=1 when it stops, and what it waits for.
	Notify func(state string)

	// Watchdog is after which silence the process is killed; 0 means never.
	Watchdog time.Duration
}

func (s Supervisor) tell(format string, args ...any) {
	if s.Notify != nil {
		s.Notify(fmt.Sprintf(format, args...))
	}
}

// waiting asks for more time to start, twice as long as until it asks again.
func (s Supervisor) waiting(what string, again time.Duration) {
	s.tell("STATUS=%s\nEXTEND_TIMEOUT_USEC=%d", what, (2 * again).Microseconds())
}

// stopping asks for the time that a stop may take by cfg, whatever the supervisor's own limit is.
func (s Supervisor) stopping(cfg Config) {
	s.tell("STOPPING=1\nSTATUS=calls under way may finish\nEXTEND_TIMEOUT_USEC=%d", (cfg.StopTimeout + stopMargin).Microseconds())
}

// supervise tells the supervisor how f is, until ctx ends. When the returned function has returned it is told nothing more.
func (s Supervisor) supervise(ctx context.Context, f *front) (stop func()) {
	if s.Notify == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.follow(ctx, f) })
	return func() { cancel(); wg.Wait() }
}

// follow says that f is well when it is, and then again and again that it answers. What the process is asked here it cannot answer while it hangs.
func (s Supervisor) follow(ctx context.Context, f *front) {
	for !f.answers(ctx, time.Second, true) {
		if !pause(ctx, askWell) {
			return
		}
	}
	s.tell("READY=1\nSTATUS=up")
	every := s.Watchdog / 3
	if every <= 0 {
		return
	}
	for pause(ctx, every) {
		switch {
		case f.answers(ctx, every, false):
			s.tell("WATCHDOG=1")
		case ctx.Err() == nil:
			f.cfg.Logger.Warn("the server does not answer itself", slog.Duration("within", every))
		}
	}
}

// pause returns false when ctx ended before d was over.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}

// answers asks the server by its own API, past all that others' calls pass, and its registry. That etcd is away does not keep it from an answer. A
// server of etcd alone is not asked: that this runs is its answer.
func (f *front) answers(ctx context.Context, within time.Duration, well bool) bool {
	if f.conn == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	resp, err := healthpb.NewHealthClient(f.conn).Check(ctx, new(healthpb.HealthCheckRequest))
	if err != nil || well && resp.Status != healthpb.HealthCheckResponse_SERVING {
		return false
	}
	f.registry.Status() // takes the locks that every view is made under
	return ctx.Err() == nil
}
