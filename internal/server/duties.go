package server

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-io/rollcall/internal/check"
	"github.com/rollcall-io/rollcall/internal/doctor"
	"github.com/rollcall-io/rollcall/internal/history"
)

// duties are what a server does beside serving: it registers itself and measures how long that takes, remembers what happens, and checks
// instances. They end before the registry that they stand on.
type duties struct {
	canary  *canary // nil: not wanted
	history *history.History
	checker *check.Checker // nil: not wanted

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// begin starts the duties. They end by stop only.
func (f *front) beginDuties(d *doors) error {
	var ctx context.Context
	ctx, f.duties.cancel = context.WithCancel(context.Background())
	f.duties.history = history.New(f.registry, history.Config{Keep: f.cfg.History, MaxEvents: f.cfg.HistoryEvents, Logger: f.cfg.Logger})
	f.duties.running.Go(func() {
		if err := f.duties.history.Run(ctx); err != nil {
			f.cfg.Logger.Error("the history has ended", "err", err)
		}
	})
	if f.cfg.Canary > 0 {
		var err error
		if f.duties.canary, err = newCanary(f.cfg, f.registry, d); err != nil {
			return err
		}
		f.duties.running.Go(func() { f.duties.canary.run(ctx) })
	}
	if !f.cfg.NoChecks {
		return f.beginChecks(ctx, d)
	}
	return nil
}

// beginChecks begins to check instances that ask for it.
func (f *front) beginChecks(ctx context.Context, d *doors) error {
	self, err := f.cfg.advertised(d)
	if err != nil {
		return err
	}
	f.duties.checker = check.New(f.registry, check.Config{
		Self: self.ID, Loopback: d.onLoopback(), Allow: f.cfg.CheckAllow, Deny: f.cfg.CheckDeny, Logger: f.cfg.Logger,
	})
	f.duties.running.Go(func() {
		if err := f.duties.checker.Run(ctx); err != nil {
			f.cfg.Logger.Error("checks have ended", "err", err)
		}
	})
	return nil
}

// countedFor is for how long back expiries are counted.
const countedFor = time.Hour

// expiries counts the instances that went without a goodbye of late.
func (d *duties) expiries() doctor.Expiries {
	gone, _ := d.history.List(history.Query{Filter: history.Filter{Kinds: []history.Kind{history.Expired}, Since: time.Now().Add(-countedFor)}})
	return doctor.Expiries{Count: len(gone), Within: countedFor}
}

// collectors have what is to be told of the duties.
func (d *duties) collectors() []prometheus.Collector {
	kept := d.history.Stats
	all := []prometheus.Collector{
		gauge("rollcall_history_events", "Events that the history holds.", func() int64 { return int64(kept().Events) }),
		counter("rollcall_history_events_total", "Events since the history began to read, those forgotten included.", func() int64 { return kept().Total }),
		gauge("rollcall_history_begin_revision", "Revision of etcd from which on the history is complete.", func() int64 { return kept().Began.Revision }),
	}
	if d.checker != nil {
		all = append(all, newCheckCollector(d.checker.Stats))
	}
	if c := d.canary; c != nil {
		all = append(all, c.seconds, c.failures)
	}
	return all
}

// stop ends the duties, and waits for them. It is idempotent.
func (d *duties) stop() {
	if d.cancel != nil {
		d.cancel()
	}
	d.running.Wait()
}
