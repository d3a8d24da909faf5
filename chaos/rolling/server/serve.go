package main

import (
	"context"
	"log/slog"
	"net"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

// serve is the life of a server as a user of rollcall writes it.
func (s *settings) serve(lis net.Listener, reg *rollcall.Registry, log *slog.Logger, j *work.Journal) error {
	calls := new(rollcallgrpc.Calls)
	return rollcallgrpc.Serve(context.Background(), newServer(lis, j, calls.ServerOptions()...), lis, reg, s.service,
		rollcallgrpc.WithSignals(),
		rollcallgrpc.WithCalls(calls),
		rollcallgrpc.WithReady(func(*rollcall.Registration) { j.Tell(work.Line{What: work.Ready}) }),
		rollcallgrpc.WithLogger(slog.New(steps{log.Handler(), j})))
}

// steps is a log handler that takes down when etcd has been told of each step of the end.
type steps struct {
	slog.Handler
	journal *work.Journal
}

// What Serve logs then, and with which step.
const toldEtcd = "leaving, and etcd was told"

var stepNames = map[string]work.What{"drain": work.Draining, "deregister": work.Goodbye}

func (s steps) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == toldEtcd {
		r.Attrs(func(a slog.Attr) bool {
			if what := stepNames[a.Value.String()]; a.Key == "step" && what != "" {
				s.journal.Tell(work.Line{What: what})
			}
			return true
		})
	}
	return s.Handler.Handle(ctx, r)
}

func (s steps) WithAttrs(attrs []slog.Attr) slog.Handler {
	return steps{s.Handler.WithAttrs(attrs), s.journal}
}

func (s steps) WithGroup(name string) slog.Handler {
	return steps{s.Handler.WithGroup(name), s.journal}
}
