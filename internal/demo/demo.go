// Package demo plays the whole story of a service on one machine: an etcd, three servers of a gRPC service, each its own
// process, and a caller at a steady rate. One server is killed, two join, one is drained and stopped. It prints what
// happens as it happens, then counts, and holds the count against what rollcall promises.
//
// Everything is real but short-lived: the etcd listens on a free port and keeps its data in a temporary directory, the
// servers are processes that end with this one, and the calls are made as any user's would be, with neither a retry
// policy nor wait-for-ready.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
)

// Service is the name under which the servers register.
const Service = "jie-test"

const (
	ttl         = rollcall.MinTTL
	startWithin = 30 * time.Second // for etcd and the first servers to appear on a slow machine
)

// Config says how the demo is played.
type Config struct {
	// For is how long calls are made, at least [MinFor]. The story is spread over it.
	For time.Duration

	// Sabotage breaks something on purpose, to show that the demo notices: "" for nothing, or [StopAtOnce].
	Sabotage string

	// Greeter is the command, with its arguments, of a process that calls [RunGreeter] with its standard input.
	Greeter []string

	// Program is how this program is called in the commands printed at the end; see [ProgramName].
	Program string

	// Out receives everything that is printed. Writes to it come one at a time.
	Out io.Writer
}

// BrokenError says which promises did not hold. The demo itself went well.
type BrokenError struct {
	Promises []string // each with what was seen instead
}

func (e *BrokenError) Error() string {
	return "broken promises: " + strings.Join(e.Promises, "; ")
}

// Run plays the demo and returns nil if every promise held.
//
// It returns a [*BrokenError] if one did not, a [*rollcall.InvalidError] for a Config it refuses, before anything is
// started, and the context's error when ctx ends first. Whatever it returns, its processes have ended, its ports are
// closed and its files are gone.
func Run(ctx context.Context, cfg Config) error {
	story, err := cfg.story()
	if err != nil {
		return err
	}
	playing, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d := &demo{
		Config:    cfg,
		story:     story,
		out:       &printer{w: cfg.Out, start: time.Now()},
		journal:   newJournal(),
		fail:      fail,
		processes: map[string]*process{},
	}
	result, err := d.play(playing)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case playing.Err() != nil: // a part failed; what the others say is a consequence of that
		return context.Cause(playing)
	case err != nil:
		return err
	}
	d.out.tally(result)
	if broken := result.broken(); len(broken) > 0 {
		return &BrokenError{Promises: broken}
	}
	d.out.next(cfg.Program)
	return nil
}

// demo is one run.
type demo struct {
	Config
	story   story
	out     *printer
	journal *journal
	fail    context.CancelCauseFunc // ends the run: a part of it broke

	etcd      string              // its address
	processes map[string]*process // by id of their instance; touched by play's goroutine only
}

// play sets the stage, tells the story on it, clears it, and returns what was counted.
func (d *demo) play(ctx context.Context) (_ tally, err error) {
	d.out.linef("starting etcd and three %s servers; then %d calls/s for %v", Service, callsPerSecond, d.story.end)
	stop, err := d.startEtcd(ctx)
	if err != nil {
		return tally{}, fmt.Errorf("start etcd: %w", err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	defer d.endProcesses()

	reg, err := rollcall.Open(rollcall.ClientConfig(d.etcd))
	if err != nil {
		return tally{}, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err = errors.Join(err, reg.Close(closing))
	}()
	stopWatching := d.watch(ctx, reg)
	defer stopWatching()

	if err := d.startFirst(ctx); err != nil {
		return tally{}, err
	}
	if err := d.tell(ctx, reg); err != nil {
		return tally{}, err
	}
	return d.journal.tally(), nil
}

// startFirst starts the servers that are there from the beginning and waits until all are in the view.
func (d *demo) startFirst(ctx context.Context) error {
	for _, id := range firstServers {
		if err := d.startServer(id); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("the servers did not register within %v", startWithin))
	defer cancel()
	return d.journal.waitUntil(ctx, func(f *facts) bool { return len(f.servers) == len(firstServers) })
}

// watch follows the service until the returned function is called, which waits for its end.
func (d *demo) watch(ctx context.Context, reg *rollcall.Registry) (stop func()) {
	w := reg.Watch(Service)
	var wg sync.WaitGroup
	wg.Go(func() {
		for view, err := range w.Views(ctx) {
			if err != nil {
				if !errors.Is(err, rollcall.ErrClosed) {
					d.fail(fmt.Errorf("watch %s: %w", Service, err))
				}
				return
			}
			now := time.Now()
			for _, u := range view.Updates {
				d.journal.update(u, now)
				d.out.update(u)
			}
		}
	})
	return func() {
		w.Close()
		wg.Wait()
	}
}
