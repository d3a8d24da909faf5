package main

import (
	"context"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
	"google.golang.org/grpc"
)

// orders are the ways to leave that fail calls: the stops of the server, and deregister, in the order of each.
var orders = map[string]func(srv *grpc.Server, deregister func()){
	"at-once":            func(srv *grpc.Server, deregister func()) { srv.Stop(); deregister() },
	"deregister-at-once": func(srv *grpc.Server, deregister func()) { deregister(); srv.Stop() },
	"graceful-first":     func(srv *grpc.Server, deregister func()) { srv.GracefulStop(); deregister() },
}

// control is the life of a server that does without rollcallgrpc's order.
func (s *settings) control(lis net.Listener, reg *rollcall.Registry, j *work.Journal) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	srv := newServer(lis, j)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	r, err := reg.Register(ctx, s.service, rollcall.Instance{Addr: lis.Addr().String()})
	if err == nil {
		err = awaitSeen(ctx, reg, s.service, r.Instance())
	}
	if err != nil {
		srv.Stop()
		<-served
		return err
	}
	j.Tell(work.Line{What: work.Ready})
	<-ctx.Done()
	orders[s.stop](srv, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err = r.Deregister(ctx); err == nil {
			j.Tell(work.Line{What: work.Goodbye})
		}
	})
	<-served
	return err
}

// awaitSeen waits until a watch shows the instance.
func awaitSeen(ctx context.Context, reg *rollcall.Registry, service string, inst rollcall.Instance) error {
	w := reg.Watch(service)
	defer w.Close()
	for v, err := range w.Views(ctx) {
		if err != nil {
			return err
		}
		if seen, found := v.Get(inst.ID); found && seen.Incarnation == inst.Incarnation {
			return nil
		}
	}
	return ctx.Err()
}
