package judge

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	rulePrompt   = "every question by DNS is answered within a second, whatever becomes of etcd"
	ruleAnswered = "a service that lives is found by DNS, its live instances and nobody else; what nobody has registered does not exist"
	ruleAge      = "what DNS says without etcd may be kept for a second, and what is too old is SERVFAIL; nothing else is"
)

// sooner is how long before a fault etcd may have been heard of for the last time.
const sooner = 5 * time.Second

// names judges the answers to one question.
type names struct {
	*run
	expect *journal.Names
	away   []span // when the server could not reach etcd
	mute   []span // the same, without the time in which it was being brought back
	first  time.Duration
	shown  map[string]bool // who has been in an answer
}

// checkNames: what a server says by DNS.
func checkNames(r *run) {
	if r.expect.Names == nil {
		return
	}
	asked := map[string][]*journal.Event{}
	for n := range r.events {
		if e := &r.events[n]; e.What == journal.Answered && e.At <= r.end {
			asked[e.Name] = append(asked[e.Name], e)
		}
	}
	if len(asked) == 0 {
		r.report(Violation{Invariant: "run", Rule: ruleRun, At: r.end, Detail: "what DNS says is to be judged, but nobody has asked"})
	}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		all := asked[name]
		c := &names{run: r, expect: r.expect.Names, away: slices.Clone(r.outages), first: all[0].At, shown: map[string]bool{}}
		for _, l := range r.lives {
			if l.process == all[0].Target {
				c.away = append(c.away, l.unreachable...)
			}
		}
		c.mute = r.mute(c.away)
		for _, e := range all {
			c.check(e)
		}
		c.checkLast(all)
	}
}

// mute cuts times short in which etcd was out of reach: each ends when the run begins to bring etcd back.
func (r *run) mute(away []span) []span {
	away = slices.Clone(away)
	for _, e := range r.events {
		if e.What != journal.Returning {
			continue
		}
		for n, s := range away {
			if s.holds(e.At) {
				away[n].to = e.At
			}
		}
	}
	return away
}

// check judges one answer.
func (c *names) check(e *journal.Event) {
	if e.Took > c.expect.Prompt || e.Err != "" {
		c.blame(e, rulePrompt, fmt.Sprintf("it took %s %s", clock(e.Took), e.Err))
	}
	old, may, must := c.age(e)
	failed := e.Text == "SERVFAIL"
	switch {
	case e.Err != "":
	case failed && !may:
		c.blame(e, ruleAge, "SERVFAIL, though etcd has not been away for long enough")
	case failed:
	case must:
		c.blame(e, ruleAge, fmt.Sprintf("%s, though etcd has been away for more than %s", e.Text, clock(c.expect.TooOld)))
	default:
		c.checkContent(e)
		if most := map[bool]time.Duration{true: c.expect.Brief, false: c.expect.TTL}[old]; e.TTL > most {
			c.blame(e, ruleAge, fmt.Sprintf("it may be kept for %s, at most %s are allowed; without etcd: %v", clock(e.TTL), clock(most), old))
		}
	}
}

// age tells whether an answer has to say that it may be old, and whether it may and whether it must be SERVFAIL.
func (c *names) age(e *journal.Event) (old, may, must bool) {
	x := c.expect
	for n, s := range c.away {
		began := e.At - e.Took
		old = old || began >= s.from+x.Old && e.At < c.mute[n].to
		if x.TooOld > 0 {
			may = may || e.At >= s.from+x.TooOld-sooner && s.to-s.from >= x.TooOld-sooner && began < after(s.to, c.run.expect.Converge)
			must = must || began >= s.from+x.TooOld+x.Old && e.At < c.mute[n].to
		}
	}
	return old, may, must
}

// checkContent judges who is in an answer.
func (c *names) checkContent(e *journal.Event) {
	known := false // somebody has registered the service
	for _, l := range c.lives {
		for k, since := range l.tried {
			known = known || k.service == e.Service && since <= e.At
		}
	}
	if want := map[bool]string{true: "NOERROR", false: "NXDOMAIN"}[known]; e.Text != want {
		c.blame(e, ruleAnswered, fmt.Sprintf("%s, not %s", e.Text, want))
		return
	}
	for k, stays := range c.stays {
		if k.service == e.Service && !slices.Contains(e.Found, k.id) && slices.ContainsFunc(stays, func(s *stay) bool { return c.expected(s, e) }) {
			c.blame(e, ruleAnswered, fmt.Sprintf("it has not %s, which lives: %v", k.id, e.Found))
			return
		}
	}
	for _, id := range e.Found {
		c.shown[id] = true
		if c.unexpected(slot{e.Service, id}, e) {
			c.blame(e, ruleAnswered, fmt.Sprintf("it has %s, which is nobody's or gone: %v", id, e.Found))
			return
		}
	}
}

// expected reports whether an instance that lives has to be in an answer: it has been before, or there was time enough.
func (c *names) expected(s *stay, e *journal.Event) bool {
	lives := s.from <= e.At-e.Took && e.At < s.to
	return lives && (c.shown[s.id] || e.At >= calm(max(s.from, c.first), c.expect.Right, c.away, c.rewrites))
}

// unexpected reports whether an id in an answer is one that nobody has begun to register, or whose last goodbye was long ago.
func (c *names) unexpected(k slot, e *journal.Event) bool {
	tried := slices.ContainsFunc(c.lives, func(l *life) bool { return l.tried[k] != 0 && l.tried[k] <= e.At })
	last := time.Duration(0)
	for _, s := range c.stays[k] {
		last = max(last, s.to)
	}
	return !tried || last > 0 && last < forever && e.At-e.Took > calm(last, c.expect.Right, c.away, c.rewrites)
}

// checkLast: without faults the server soon knows everything, and says so.
func (c *names) checkLast(all []*journal.Event) {
	deadline := min(after(c.quiet, c.run.expect.Converge), c.end)
	for n, e := range all {
		last := n == len(all)-1 || all[n+1].At > deadline
		if last && e.Err == "" && e.TTL != c.expect.TTL {
			c.blame(e, ruleAge, fmt.Sprintf("%s, for %s, though etcd is there: %s is wanted", e.Text, clock(e.TTL), clock(c.expect.TTL)))
			return
		}
	}
}

func (c *names) blame(e *journal.Event, rule, detail string) {
	c.report(Violation{Invariant: "names", Rule: rule, At: e.At, Service: e.Service, Process: e.By, Detail: e.Name + ": " + detail})
}
