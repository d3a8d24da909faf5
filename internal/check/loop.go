package check

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
)

// loop is a checker at work. All but the goroutines of probes and writes is done by the one that runs it, so nothing here is locked.
type loop struct {
	checker *Checker
	ctx     context.Context
	working sync.WaitGroup // all that runs beside the loop

	alarms    alarms
	servers   servers
	views     map[string]*rollcall.View // the newest of each service that has instances
	targets   map[place]*target
	failing   int // of the targets
	vanished  vanished
	reports   map[place]*report
	unwritten []*report // that wait for others to be written
	writing   int
	written   chan writing

	waiting  []*target // that are due and wait for other probes to end, the first first
	underWay int
	probed   chan probed
}

func newLoop(ctx context.Context, c *Checker) *loop {
	l := &loop{
		checker: c, ctx: ctx, views: map[string]*rollcall.View{}, targets: map[place]*target{}, reports: map[place]*report{},
		vanished: vanished{}, written: make(chan writing), probed: make(chan probed),
	}
	l.servers.settled.ring = l.settle
	return l
}

func (l *loop) run(told <-chan *rollcall.Overview, ended <-chan error) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, set := l.alarms.ring(time.Now()); set {
			timer.Reset(wait)
		} else {
			timer.Reset(time.Hour)
		}
		l.checker.figures.set(len(l.servers.live), len(l.targets), l.failing, l.underWay, len(l.waiting))
		select {
		case <-l.ctx.Done():
			return nil
		case err := <-ended:
			return err
		case o := <-told:
			l.take(o)
		case p := <-l.probed:
			l.heard(p, time.Now())
		case w := <-l.written:
			l.wrote(w, time.Now())
		case <-timer.C:
		}
	}
}

// probed is a probe that has ended.
type probed struct {
	target  *target
	outcome string
}

// begin probes a target that is due, or has it wait for others to end.
func (l *loop) begin(t *target) {
	if l.underWay >= l.checker.config.Concurrency {
		t.waiting = true
		l.waiting = append(l.waiting, t)
		return
	}
	l.probe(t)
}

func (l *loop) probe(t *target) {
	t.waiting = false
	l.underWay++
	began, due, addr, check := time.Now(), t.due, t.addr, t.check
	l.working.Go(func() {
		outcome := l.checker.probe(l.ctx, addr, check)
		if l.ctx.Err() != nil {
			return
		}
		l.checker.observe(Observation{Type: check.Type, Result: class(outcome), Late: max(began.Sub(due), 0), Took: time.Since(began)})
		select {
		case l.probed <- probed{t, outcome}:
		case <-l.ctx.Done():
		}
	})
}

func (c *Checker) observe(o Observation) {
	c.figures.probed(o)
	if c.config.Observe != nil {
		c.config.Observe(o)
	}
}

// heard takes the outcome of a probe, and begins the one that waits longest.
func (l *loop) heard(p probed, now time.Time) {
	l.underWay--
	if t := p.target; !t.dropped {
		l.weigh(t, p.outcome, now)
		l.plan(t, false, now)
	}
	for len(l.waiting) > 0 && l.underWay < l.checker.config.Concurrency {
		next := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if !next.dropped {
			l.probe(next)
		}
	}
}

// weigh draws the consequences of an outcome.
func (l *loop) weigh(t *target, outcome string, now time.Time) {
	if outcome == outcomeVoid {
		return
	}
	changed := t.verdict.hear(now, outcome, t.check)
	logger := l.checker.config.Logger.With("service", t.place.service, "instance", t.place.id)
	switch {
	case changed && t.verdict.failing:
		l.failing++
		logger.Info("instance is unhealthy", "detail", t.verdict.detail, "damping", t.verdict.damping)
		l.accuse(t)
	case changed:
		l.failing--
		logger.Info("instance is healthy again")
		l.acquit(t)
	default:
		l.insist(t, now)
	}
}

// accuse reports a target that fails.
func (l *loop) accuse(t *target) {
	t.told = &rollcall.Health{Failing: true, Since: t.verdict.since, Detail: t.verdict.detail, Checker: l.checker.config.Self}
	l.tell(t.place, finding{t.incarnation, t.told})
}

// acquit takes back what is known against a target, by whomever.
func (l *loop) acquit(t *target) {
	t.acquitted = time.Now()
	if t.seen != nil {
		t.past = t.seen.Revision
	}
	if h := t.seen; h != nil && h.Failing && h.Checker != l.checker.config.Self {
		t.told = h
		l.takeAway(t.place, finding{t.incarnation, h})
		return
	}
	l.tell(t.place, finding{})
}

// insist looks whether the registry has what this server has found, and reports a failing target once more when it has not: another server
// has taken the report over, and perhaps away. It is done at the pace of probes, so that two servers that do not know of each other do no harm.
func (l *loop) insist(t *target, now time.Time) {
	if !t.verdict.failing {
		l.heed(t)
		return
	}
	r := l.reports[t.place]
	lost := t.seen == nil || !t.seen.Failing || t.seen.Checker != l.checker.config.Self
	if lost && r != nil && !r.busy && r.said.health != nil && now.Sub(r.confirmed) > echo {
		r.said = finding{}
		l.push(r)
	}
}
