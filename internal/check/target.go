package check

import (
	"math/rand/v2"
	"time"

	"github.com/rollcall-io/rollcall"
)

// target is an instance that falls to this server.
type target struct {
	place       place
	incarnation string
	addr        string
	check       rollcall.Check // complete, and within the limits
	verdict     verdict
	seen        *rollcall.Health // what the registry has of this incarnation
	told        *rollcall.Health // what this server last wanted it to have
	acquitted   time.Time        // when that was taken back
	past        int64            // revision of the report that the registry had then

	next    alarm
	due     time.Time // of the probe that is next, waits or is under way
	waiting bool
	dropped bool
}

// asked returns what an instance asks for, complete, and where. It may have been written by anybody, so it is brought within the limits;
// what is of a type of later versions is not checked.
func asked(i *rollcall.Instance) (check rollcall.Check, addr string, asks bool) {
	if i.Check == nil {
		return check, "", false
	}
	c := i.Check.WithDefaults()
	if c.Type != rollcall.CheckGRPC && c.Type != rollcall.CheckHTTP && c.Type != rollcall.CheckTCP {
		return check, "", false
	}
	c.Interval = min(max(c.Interval, rollcall.MinCheckInterval), rollcall.MaxCheckInterval)
	if c.Timeout <= 0 {
		c.Timeout = rollcall.DefaultCheckTimeout
	}
	c.Timeout = min(c.Timeout, rollcall.MaxCheckTimeout, c.Interval)
	c.Fall, c.Rise = max(c.Fall, 1), max(c.Rise, 1)
	return c, c.Target(i), true
}

// jittered is about an interval: what was due together is not for long.
func jittered(interval time.Duration) time.Duration {
	return interval*9/10 + rand.N(interval/5+1)
}

// plan sets when a target is probed next: for the first time at any moment of an interval, so that what a server finds at its start, or
// takes over, is not probed all at once.
func (l *loop) plan(t *target, first bool, now time.Time) {
	if first {
		t.due = now.Add(rand.N(t.check.Interval))
	} else {
		t.due = t.due.Add(jittered(t.check.Interval))
	}
	if t.due.Before(now) {
		t.due = now // it is late: what was missed is not made up for
	}
	l.alarms.set(&t.next, t.due)
}

// aim makes a target of an instance.
func (l *loop) aim(p place, i *rollcall.Instance, check rollcall.Check, addr string) *target {
	t := &target{place: p, incarnation: i.Incarnation, addr: addr, check: check, seen: i.Health}
	t.next.ring = func() { l.begin(t) }
	l.targets[p] = t
	l.plan(t, true, time.Now())
	return t
}

// drop forgets a target. A probe of it that is under way is of no consequence.
func (l *loop) drop(t *target) {
	if t.verdict.failing {
		l.failing--
	}
	t.dropped = true
	l.alarms.stop(&t.next)
	delete(l.targets, t.place)
}
