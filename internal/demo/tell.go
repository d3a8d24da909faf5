package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
)

// endWithin is how long the drained server's process may take to end once the last call is back.
const endWithin = 10 * time.Second

// tell makes the calls and, beside them, does what the story says when it says so.
func (d *demo) tell(ctx context.Context, reg *rollcall.Registry) error {
	c, err := newCaller(reg, d.journal)
	if err != nil {
		return err
	}
	defer c.close()

	calling, endCalls := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		endCalls()
		wg.Wait()
	}()
	start := time.Now()
	wg.Go(func() { c.run(calling, start, d.story.end) })
	wg.Go(func() { d.reportCalls(calling, start) })
	for _, s := range d.story.steps {
		if err := sleepUntil(ctx, start.Add(s.at)); err != nil {
			return err
		}
		if err := d.do(s); err != nil {
			return err
		}
	}
	wg.Wait()
	return d.awaitDrained(ctx)
}

func (d *demo) do(s step) error {
	switch s.do {
	case kill:
		p := d.processes[s.server]
		at, err := p.kill()
		if err != nil {
			return fmt.Errorf("kill %s: %w", s.server, err)
		}
		<-p.done
		d.journal.killed(s.server, at, time.Now())
		d.out.event("killing", "%s with SIGKILL: no goodbye, its key expires within %v", s.server, ttl+expirySlack)
	case join:
		d.out.event("starting", "%s", s.server)
		return d.startServer(s.server)
	case drain:
		d.journal.drained(s.server, time.Now())
		d.out.event("stopping", "%s with SIGTERM", s.server)
		if err := d.processes[s.server].terminate(); err != nil {
			return fmt.Errorf("stop %s: %w", s.server, err)
		}
	}
	return nil
}

// awaitDrained waits until the process that was told to stop has ended, and notes how.
func (d *demo) awaitDrained(ctx context.Context) error {
	p := d.processes[drainedServer]
	select {
	case <-p.done:
		d.journal.stopped(drainedServer, p.err)
		return nil
	case <-time.After(endWithin):
		return nil // what is missing in the journal breaks a promise
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// reportCalls prints how many calls each server got, every few seconds.
func (d *demo) reportCalls(ctx context.Context, start time.Time) {
	const every = 2 * time.Second
	before := map[string]int{}
	for at := every; at <= d.story.end; at += every {
		if sleepUntil(ctx, start.Add(at)) != nil {
			return
		}
		calls := d.journal.calls()
		d.out.calls(calls, before)
		before = calls
	}
}

func sleepUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
