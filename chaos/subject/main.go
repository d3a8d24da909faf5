// Program subject is a user of rollcall as a process of its own, for the faults of a chaos run to hit: one that registers
// instances or one that watches a service. It tells its journal on standard output, and ends when it is told to (SIGTERM),
// or at once when its standard input ends, so that it never outlives the run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/journal"
)

// settings are the program's flags.
type settings struct {
	name, endpoints, prefix, service string
	user, password                   string

	id, addr         string
	count            int
	stagger          time.Duration
	ttl              time.Duration
	perSecond        int
	updates          time.Duration
	metadata         int
	suspicion, usage time.Duration

	then, addr2 string // the second service, if any, and the address of its instance, which is its id too
	after       time.Duration
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "subject:", err)
		os.Exit(1)
	}
}

// parse reads what the process is to be, register or watch, and its flags.
func parse(args []string) (role string, s *settings, err error) {
	if len(args) == 0 || args[0] != "register" && args[0] != "watch" {
		return "", nil, errors.New("say what to do: register or watch")
	}
	role, s = args[0], new(settings)
	f := flag.NewFlagSet(role, flag.ContinueOnError)
	f.StringVar(&s.name, "name", "subject", "what the journal calls this process")
	f.StringVar(&s.endpoints, "endpoints", "127.0.0.1:2379", "etcd's members, host:port with commas between them")
	f.StringVar(&s.prefix, "prefix", rollcall.DefaultPrefix, "where the registry lies in etcd")
	f.StringVar(&s.service, "service", "s", "the service to register or to watch")
	f.StringVar(&s.user, "user", "", "user of etcd")
	f.StringVar(&s.password, "password", "", "its password")
	f.StringVar(&s.id, "id", "", "id of the instance; of several, what their ids begin with")
	f.StringVar(&s.addr, "addr", "127.0.0.1:1", "address of the instances")
	f.IntVar(&s.count, "count", 1, "how many instances to register")
	f.DurationVar(&s.stagger, "stagger", 0, "how long after the one before it each instance is registered")
	f.DurationVar(&s.ttl, "ttl", rollcall.DefaultTTL, "TTL of the registrations")
	f.IntVar(&s.perSecond, "churn", 0, "how many instances to deregister, register again and look up, per second")
	f.DurationVar(&s.updates, "updates", 0, "how often each instance drains, or serves again; 0: never")
	f.IntVar(&s.metadata, "metadata", 0, "bytes of metadata that each instance has")
	f.DurationVar(&s.suspicion, "suspicion", rollcall.DefaultSuspicion, "how long a watcher doubts a mass expiry")
	f.StringVar(&s.then, "then", "", "a second service to register or to watch, through the same registry")
	f.StringVar(&s.addr2, "addr2", "", "address of its instance, which is its id too")
	f.DurationVar(&s.after, "after", 0, "how long after the start the second service's turn comes")
	f.DurationVar(&s.usage, "usage", 0, "how often to tell what this process uses; 0: never")
	if err := f.Parse(args[1:]); err != nil {
		return "", nil, err
	}
	if s.then != "" && role == "register" && (s.count != 1 || s.addr2 == "") {
		return "", nil, errors.New("a second service wants an -addr2, and a -count of 1")
	}
	return role, s, nil
}

func run(args []string) error {
	role, s, err := parse(args)
	if err != nil {
		return err
	}
	j := journal.NewWriter(os.Stdout, s.name)
	orphaned := make(chan struct{})
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(orphaned)
	}()
	reg, err := s.open()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	j.Tell(journal.Event{What: journal.Started})
	var wg sync.WaitGroup
	if role == "register" {
		wg.Go(func() { s.register(ctx, reg, j) })
	} else {
		wg.Go(func() { s.watch(ctx, reg, j) })
	}
	if s.then != "" {
		wg.Go(func() { s.second(ctx, role, reg, j) })
	}
	if s.usage > 0 {
		wg.Go(func() { tellUsage(ctx, j, s.usage) })
	}
	select {
	case <-ctx.Done():
	case <-orphaned:
		os.Exit(2)
	}
	wg.Wait()
	return closeRegistry(reg, j)
}

// second does with the second service, when its turn comes, what is done with the first: with one instance, or as a watcher.
func (s *settings) second(ctx context.Context, role string, reg *rollcall.Registry, j *journal.Writer) {
	if !pause(ctx, s.after) {
		return
	}
	later := *s
	later.service, later.id, later.addr = s.then, s.addr2, s.addr2
	if role == "watch" {
		later.watch(ctx, reg, j)
		return
	}
	k := &keeper{settings: &later, reg: reg, j: j, id: later.id}
	k.join(ctx)
}

func (s *settings) open() (*rollcall.Registry, error) {
	cfg := rollcall.ClientConfig(strings.Split(s.endpoints, ",")...)
	cfg.Username, cfg.Password = s.user, s.password
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return rollcall.Open(cfg, rollcall.WithPrefix(s.prefix), rollcall.WithLogger(log), rollcall.WithSuspicion(s.suspicion))
}

func closeRegistry(reg *rollcall.Registry, j *journal.Writer) error {
	j.Tell(journal.Event{What: journal.Closing})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := reg.Close(ctx)
	j.Tell(journal.Event{What: journal.Closed, Err: text(err)})
	return err
}

// text is an error's, or none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// tellUsage tells now and then what the process uses, after a collection, so that what it tells is in use.
func tellUsage(ctx context.Context, j *journal.Writer, every time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		open, err := os.ReadDir("/proc/self/fd")
		j.Tell(journal.Event{What: journal.Usage, Goroutines: runtime.NumGoroutine(), Descriptors: len(open), Heap: int64(mem.HeapAlloc), Err: text(err)})
	}
}
