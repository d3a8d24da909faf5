// Program rawcaller calls a service as clients do that forgive nothing: bare HTTP/2, and no call is made twice, whatever
// the server said and however surely it has not begun to work on it. Clients of gRPC in Go hide most mistakes of a
// server that leaves; proxies and clients in other languages do not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rawcaller:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var f work.Flags
	set := flag.NewFlagSet("rawcaller", flag.ContinueOnError)
	f.Define(set)
	if err := set.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	j, err := work.Create(f.Journal)
	if err != nil {
		return err
	}
	defer j.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	reg, err := rollcall.Open(rollcall.ClientConfig(f.Endpoints()...), rollcall.WithLogger(log))
	if err != nil {
		return err
	}
	p := newPool()
	watch := reg.Watch(f.Service)
	following, unfollow := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for v, err := range watch.Views(following) {
			if err == nil {
				p.use(v)
			}
		}
	})
	select {
	case <-p.known:
		f.Load(ctx, j, p.call)
	case <-ctx.Done():
	}
	unfollow()
	wg.Wait()
	watch.Close()
	p.close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := reg.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil // etcd is away; there is nothing that it holds for us
}
