// Package history tells what happened in a registry: who came and went, when and why, and what operators decided. It is read from etcd's own
// past, as far as that reaches back, and kept in memory, within a bound.
//
// What is not written in etcd nobody can tell afterwards: docs/history.md says how each cause is known, and which are guessed.
package history

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
)

// What a history keeps unless it is told otherwise.
const (
	DefaultKeep      = 24 * time.Hour
	DefaultMaxEvents = 100_000
	DefaultBack      = 500_000
)

// Config is what a history may be told. The zero Config will do.
type Config struct {
	Keep      time.Duration // events older than that are forgotten
	MaxEvents int           // of more the oldest are forgotten
	Back      int64         // how many of etcd's revisions to read of its past, at most
	Logger    *slog.Logger  // nil: silent
	Now       func() time.Time
}

// History is what happened in one registry. Its methods may be called from anywhere, also before Run and after it.
type History struct {
	reg    *rollcall.Registry
	keep   time.Duration
	back   int64
	logger *slog.Logger
	now    func() time.Time
	told   *tracker // what Run hears

	mu        sync.Mutex // guards all below; nothing is waited for with it held
	events    ring
	marks     marks
	begin     Begin
	beganWith int64     // the sequence of the first event behind the begin
	broke     time.Time // when etcd's history broke last
	started   time.Time
	took      time.Duration // to read the past; 0: it is being read
	revision  int64         // up to which everything was told
	changed   chan struct{} // closed and replaced when readers have something new to read
}

// Begin is where a history begins.
type Begin struct {
	Revision int64     // nothing that happened after this revision of etcd is missing
	Time     time.Time // when that was; zero: nobody knows
	Reading  bool      // the past is still being read: there will be more
}

// New returns the history of a registry that was made with [rollcall.WithFollowAll] and stands on etcd. It is empty before Run.
func New(reg *rollcall.Registry, cfg Config) *History {
	if cfg.Keep <= 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.MaxEvents <= 0 {
		cfg.MaxEvents = DefaultMaxEvents
	}
	if cfg.Back <= 0 {
		cfg.Back = DefaultBack
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &History{
		reg: reg, keep: cfg.Keep, back: cfg.Back, logger: cfg.Logger, now: cfg.Now,
		events: newRing(cfg.MaxEvents, cfg.Now()), begin: Begin{Reading: true}, changed: make(chan struct{}),
	}
	h.told = newTracker(h)
	return h
}

// Run reads etcd's past and then what happens, until ctx ends or the registry is closed; it is called once. The error is nil when ctx
// ended it.
func (h *History) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	h.mu.Lock()
	h.started = h.now()
	h.mu.Unlock()
	h.told.ctx = ctx
	wg.Go(func() { h.watchEtcd(ctx) })
	wg.Go(func() { h.tick(ctx) })
	err := h.reg.Journal(ctx, h.back, h.told.take)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Begin returns where the history begins.
func (h *History) Begin() Begin {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.begin
}

// tick does what is due by the clock alone.
func (h *History) tick(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.told.tick()
			h.forget()
		}
	}
}

// etcdRest is how long nobody looks after each look at how etcd is.
const etcdRest = 200 * time.Millisecond

// watchEtcd notes when etcd goes out of reach and when it is back.
func (h *History) watchEtcd(ctx context.Context) {
	w := h.reg.WatchServices()
	defer w.Close()
	var lost time.Time
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
		o, err := w.Next(ctx)
		if err != nil {
			return
		}
		switch now := h.now(); {
		case lost.IsZero() && !o.StaleSince.IsZero():
			why := &cause{}
			if o.StaleErr != nil {
				why.reason = o.StaleErr.Error()
			}
			h.add(record{kind: EtcdLost, revision: o.Revision, who: subjectOf("", "", nil), why: why, since: nanoOf(o.StaleSince), at: now.UnixNano(), exact: true})
		case !lost.IsZero() && o.StaleSince.IsZero():
			h.add(record{kind: EtcdBack, revision: o.Revision, who: subjectOf("", "", nil), since: nanoOf(lost), at: now.UnixNano(), exact: true})
		}
		lost = o.StaleSince
		rest.Reset(etcdRest)
	}
}
