package check

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rollcall-io/rollcall"
)

const (
	reportPatience = 5 * time.Second // that etcd has to confirm one report
	reportsAtOnce  = 128             // so many, so that the registry can gather them
	minReportPause = 500 * time.Millisecond
	maxReportPause = 30 * time.Second

	// echo is how long the registry may take to tell of what it has confirmed.
	echo = 3 * time.Second

	// heard is how long whoever holds another server's report gets to hear that it is not his any more. One who hears at once that it was
	// taken over and removed takes it for removed, and puts it back.
	heard = time.Second
)

// finding is what is to be known of an instance.
type finding struct {
	of     string // its incarnation
	health *rollcall.Health
}

// report sees to it that the registry has what this server has found out about one instance, however long that takes. It is made with the
// first thing to be told, and forgotten when nothing is left to be told.
type report struct {
	place     place
	want      finding // no health: nothing
	said      finding // what the registry has confirmed; no health: nothing
	confirmed time.Time
	foreign   *finding // what another server has reported, and this one is to take away
	busy      bool
	failures  int
	again     alarm
}

// tell has the registry told what it is to know of an instance; no health is nothing. What is said already is not said again.
func (l *loop) tell(p place, want finding) {
	if r := l.reportOf(p, want.health != nil); r != nil {
		r.want = want
		l.push(r)
	}
}

// takeAway removes what another server has reported of an instance.
func (l *loop) takeAway(p place, foreign finding) {
	r := l.reportOf(p, true)
	r.want, r.foreign = finding{}, &foreign
	l.push(r)
}

// reportOf returns the report of an instance; nil when there is none and none is to be made.
func (l *loop) reportOf(p place, make bool) *report {
	r := l.reports[p]
	if r == nil && make {
		r = &report{place: p}
		r.again.ring = func() { l.push(r) }
		l.reports[p] = r
	}
	return r
}

// push begins to write a report, if it is to be written and can be now.
func (l *loop) push(r *report) {
	switch {
	case r.busy:
		return
	case r.want == r.said && r.foreign == nil:
		l.alarms.stop(&r.again)
		if r.want.health == nil {
			delete(l.reports, r.place)
		}
		return
	case r.again.spot > 0 && r.failures > 0:
		return // it waits after a failure
	}
	r.busy = true
	if l.writing >= reportsAtOnce {
		l.unwritten = append(l.unwritten, r)
		return
	}
	l.write(r)
}

func (l *loop) write(r *report) {
	l.writing++
	want, foreign := r.want, r.foreign
	l.working.Go(func() {
		err := l.checker.write(l.ctx, r.place, want, foreign)
		select {
		case l.written <- writing{r, want, foreign, err}:
		case <-l.ctx.Done():
		}
	})
}

// write tells the registry. Another server's report is first made this one's own.
func (c *Checker) write(ctx context.Context, p place, want finding, foreign *finding) error {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	if foreign != nil {
		if err := c.registry.ReportHealth(ctx, p.service, p.id, foreign.of, foreign.health); err != nil {
			return err
		}
		select {
		case <-time.After(heard):
		case <-ctx.Done():
		}
	}
	return c.registry.ReportHealth(ctx, p.service, p.id, want.of, want.health)
}

// writing is how a write ended.
type writing struct {
	report  *report
	want    finding
	foreign *finding
	err     error
}

// wrote takes the end of a write, begins the one that waits longest, and tries again later what failed.
func (l *loop) wrote(w writing, now time.Time) {
	r := w.report
	l.writing--
	l.checker.figures.reported(w.err)
	r.busy = false
	if w.err != nil {
		l.checker.config.Logger.Debug("report of a check not written, tried again", "service", r.place.service, "instance", r.place.id, "err", w.err)
		pause := min(minReportPause<<min(r.failures, 10), maxReportPause)
		r.failures++
		l.alarms.set(&r.again, now.Add(pause/2+rand.N(pause)))
	} else {
		r.failures = 0
		r.said, r.confirmed = w.want, now
		if r.foreign == w.foreign {
			r.foreign = nil
		}
		l.push(r)
	}
	for len(l.unwritten) > 0 && l.writing < reportsAtOnce {
		next := l.unwritten[0]
		l.unwritten = l.unwritten[1:]
		l.write(next)
	}
}

// sameReport compares what two reports say, wherever they were read.
func sameReport(a, b *rollcall.Health) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Failing == b.Failing && a.Since.Equal(b.Since) && a.Detail == b.Detail && a.Checker == b.Checker
}
