// Program server is a gRPC server that is restarted under load: one instance of a service, until it is told to end
// (SIGTERM). It leaves as rollcallgrpc has servers leave, or, as a control, in one of the orders that fail calls.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
	"google.golang.org/grpc"
)

// settings are the program's flags.
type settings struct{ etcd, addr, service, journal, stop string }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*settings, error) {
	s := new(settings)
	f := flag.NewFlagSet("server", flag.ContinueOnError)
	f.StringVar(&s.etcd, "etcd", "127.0.0.1:2379", "etcd's members, host:port with commas between them")
	f.StringVar(&s.addr, "addr", "127.0.0.1:0", "where to listen")
	f.StringVar(&s.service, "service", "work", "the service to be an instance of")
	f.StringVar(&s.journal, "journal", "", "file to write the journal to")
	f.StringVar(&s.stop, "stop", "serve", "how to leave: serve, at-once, deregister-at-once, graceful-first")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if s.stop != "serve" && orders[s.stop] == nil {
		return nil, fmt.Errorf("-stop: there is no order %q", s.stop)
	}
	return s, nil
}

func run(args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	j, err := work.Create(s.journal)
	if err != nil {
		return err
	}
	defer j.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	reg, err := rollcall.Open(rollcall.ClientConfig(strings.Split(s.etcd, ",")...), rollcall.WithLogger(log))
	if err != nil {
		return err
	}
	lis, err := listen(s.addr)
	if err != nil {
		return err
	}
	err = s.live(lis, reg, log, j)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	closed := reg.Close(ctx)
	if errors.Is(closed, context.DeadlineExceeded) {
		closed = nil // etcd is away, and there is nothing left to revoke but a lease
	}
	return errors.Join(err, closed)
}

// live is the server's life, from its first connection to its last call.
func (s *settings) live(lis net.Listener, reg *rollcall.Registry, log *slog.Logger, j *work.Journal) (err error) {
	j.Tell(work.Line{What: work.Listening, Addr: lis.Addr().String()})
	watched, over := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { work.NoteStalls(watched, j) })
	defer watching.Wait()
	defer over()
	if s.stop == "serve" {
		err = s.serve(lis, reg, log, j)
	} else {
		err = s.control(lis, reg, j)
	}
	l := work.Line{What: work.Stopped}
	if err != nil {
		l.Message = err.Error()
	}
	j.Tell(l)
	return err
}

// listen listens, if need be a little later: while the address had no listener, a connection of some other process may
// have been given its port.
func listen(addr string) (net.Listener, error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		lis, err := net.Listen("tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return lis, err
		}
	}
}

// newServer makes a server that does the work.
func newServer(lis net.Listener, j *work.Journal, opts ...grpc.ServerOption) *grpc.Server {
	srv := grpc.NewServer(opts...)
	work.Register(srv, lis.Addr().String(), j)
	return srv
}
