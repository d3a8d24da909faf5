package rolling

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/chaos/rolling/work"
)

// Expect is how a run is to be judged.
type Expect struct {
	Calls    int // at least
	Restarts int // at least
	Untold   int // how many servers that were restarted may have failed to say goodbye
}

// Judge judges a run by the journals of all who took part, in any order.
func Judge(e Expect, lines []work.Line) Verdict {
	c := &court{expect: e, servers: map[string]*life{}}
	c.Calls, c.Worst, c.By = map[work.Kind]int{}, map[work.Kind]time.Duration{}, map[string]Tally{}
	for _, l := range lines {
		c.hear(l)
	}
	c.joinStalls()
	c.judgeCalls()
	c.judgeServers()
	return c.Verdict
}

// court is what is known of a run.
type court struct {
	Verdict
	expect  Expect
	servers map[string]*life
	exits   []work.Line
	calls   []work.Line
	stalls  []work.Line
	quiet   time.Duration
}

// life is one server's; a time that is zero has not come.
type life struct {
	name, addr                                  string
	listening, told, draining, goodbye, stopped time.Duration
	began                                       []time.Duration
}

// hear sorts a line to where it belongs.
func (c *court) hear(l work.Line) {
	who := l.By
	if l.What == work.Told {
		who = l.Of
	}
	switch l.What {
	case work.Called:
		c.calls = append(c.calls, l)
	case work.Stalled:
		c.stalls = append(c.stalls, l)
	case work.Exited:
		c.exits = append(c.exits, l)
	case work.Quiet:
		c.quiet = l.At
	case work.Killed, work.Revived, work.Ready, work.Ended:
	default:
		s := c.servers[who]
		if s == nil {
			s = &life{name: who}
			c.servers[who] = s
		}
		s.hear(l)
	}
}

func (s *life) hear(l work.Line) {
	switch l.What {
	case work.Listening:
		s.listening, s.addr = l.At, l.Addr
	case work.Told:
		s.told = l.At
	case work.Draining:
		s.draining = l.At
	case work.Goodbye:
		s.goodbye = l.At
	case work.Stopped:
		s.stopped = l.At
	case work.Began:
		s.began = append(s.began, l.At)
	}
}

// judgeCalls judges what the callers have said.
func (c *court) judgeCalls() {
	slices.SortFunc(c.calls, func(a, b work.Line) int { return cmp.Compare(a.End, b.End) })
	for _, l := range c.calls {
		c.count(l)
		took := l.End - l.Begin
		c.Worst[l.Kind] = max(c.Worst[l.Kind], took)
		if l.Code != work.OK {
			c.blame("failed", c.told(l))
			continue
		}
		if stalled := c.stalled(l.Begin, l.End); took-stalled >= l.Kind.Lasts()+Slack {
			c.blame("late", fmt.Sprintf("%s; it took %v, of which the machine stood still for %v", c.told(l), brief(took), brief(stalled)))
		}
	}
	if len(c.calls) < c.expect.Calls {
		c.blame("few", fmt.Sprintf("%d calls, fewer than %d", len(c.calls), c.expect.Calls))
	}
	for _, k := range work.Kinds {
		if c.Calls[k] == 0 {
			c.blame("few", fmt.Sprintf("no %s call", k))
			continue
		}
		for _, who := range slices.Sorted(maps.Keys(c.By)) {
			if c.By[who].Calls[k] == 0 {
				c.blame("few", fmt.Sprintf("no %s call of %s", k, who))
			}
		}
	}
	c.judgeClocks()
}

// count adds a call to what its caller and all callers did.
func (c *court) count(l work.Line) {
	t := c.By[l.By]
	if t.Calls == nil {
		t.Calls = map[work.Kind]int{}
	}
	t.Calls[l.Kind]++
	c.Calls[l.Kind]++
	if l.Code != work.OK {
		t.Failed++
		c.Failed++
	}
	c.By[l.By] = t
}

// judgeClocks judges whether callers take their times from the clock that all others have: no call can begin before there
// is a server, nor end after its caller has.
func (c *court) judgeClocks() {
	first := time.Duration(math.MaxInt64)
	for _, s := range c.servers {
		first = min(first, s.listening)
	}
	ends := map[string]time.Duration{}
	for _, l := range c.exits {
		ends[l.Of] = l.At
	}
	blamed := map[string]bool{}
	for _, l := range c.calls {
		if (l.Begin < first || l.End < l.Begin || l.End > ends[l.By]) && !blamed[l.By] {
			blamed[l.By] = true
			c.blame("clock", fmt.Sprintf("a call of %s was from %v to %v, and a server listened at %v, and %s ended at %v", l.By, l.Begin, l.End, first, l.By, ends[l.By]))
		}
	}
}

// judgeServers judges what the servers have said, and how they came to their ends.
func (c *court) judgeServers() {
	untold := 0
	servers := c.sorted()
	reached := c.reached(servers)
	for _, s := range servers {
		switch {
		case s.told == 0:
			c.blame("ended", s.name+" ended, though nobody had told it to")
		case c.quiet == 0 || s.told < c.quiet:
			c.Restarts++
			if s.goodbye == 0 {
				untold++
			}
		}
		if len(s.began) == 0 {
			c.blame("idle", s.name+" was never called, which proves nothing about it")
		}
		for _, who := range slices.Sorted(maps.Keys(reached)) {
			if !reached[who][s] {
				c.blame("idle", fmt.Sprintf("%s was never called by %s, which proves nothing about the two", s.name, who))
			}
		}
		c.judgeGoodbye(s)
	}
	if untold > c.expect.Untold {
		c.blame("untold", fmt.Sprintf("%d servers that were restarted said no goodbye, more than %d", untold, c.expect.Untold))
	}
	if c.Restarts < c.expect.Restarts {
		c.blame("few", fmt.Sprintf("%d restarts, fewer than %d", c.Restarts, c.expect.Restarts))
	}
	for _, l := range c.exits {
		if l.Message != "" {
			c.blame("ended", fmt.Sprintf("%s ended badly: %s", l.Of, l.Message))
		}
	}
}

// reached is which servers have answered each caller that writes down whom it calls.
func (c *court) reached(servers []*life) map[string]map[*life]bool {
	reached := map[string]map[*life]bool{}
	for _, l := range c.calls {
		s := at(servers, l.Addr, l.End)
		if s == nil || l.Code != work.OK {
			continue
		}
		if reached[l.By] == nil {
			reached[l.By] = map[*life]bool{}
		}
		reached[l.By][s] = true
	}
	return reached
}

// at is the server that an address belonged to at some time; nil if there was none. Servers are in the order of their births.
func at(servers []*life, addr string, when time.Duration) *life {
	for _, s := range slices.Backward(servers) {
		if s.addr == addr && s.listening <= when {
			return s
		}
	}
	return nil
}

// judgeGoodbye judges, by the server's own clock, how long after its goodbye calls still came.
func (c *court) judgeGoodbye(s *life) {
	if s.goodbye == 0 {
		return
	}
	for _, at := range s.began {
		c.After = max(c.After, at-s.goodbye)
		if at-s.goodbye-c.stalled(s.goodbye, at) > Propagation {
			c.blame("after goodbye", fmt.Sprintf("a call began at %s %v after it; %s", s.name, brief(at-s.goodbye), s.story(s.goodbye)))
		}
	}
}

func (c *court) sorted() []*life {
	var all []*life
	for _, s := range c.servers {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *life) int { return cmp.Compare(a.listening, b.listening) })
	return all
}

// joinStalls makes one of stalls that overlap: several processes may have noted the same.
func (c *court) joinStalls() {
	slices.SortFunc(c.stalls, func(a, b work.Line) int { return cmp.Compare(a.Begin, b.Begin) })
	var joined []work.Line
	for _, l := range c.stalls {
		if n := len(joined); n > 0 && l.Begin <= joined[n-1].End {
			joined[n-1].End = max(joined[n-1].End, l.End)
		} else {
			joined = append(joined, l)
		}
	}
	c.stalls = joined
	for _, l := range joined {
		c.Stalls += l.End - l.Begin
		c.Longest = max(c.Longest, l.End-l.Begin)
	}
}

// stalled is for how long, of the time between two moments, the machine is known to have stood still.
func (c *court) stalled(from, to time.Duration) time.Duration {
	var all time.Duration
	for _, l := range c.stalls {
		if d := min(to, l.End) - max(from, l.Begin); d > 0 {
			all += d
		}
	}
	return all
}

// told is a call, with what its server did about that time.
func (c *court) told(l work.Line) string {
	text := fmt.Sprintf("%s's %s call %s", l.By, l.Kind, l.Code)
	if l.Message != "" {
		text += ": " + l.Message
	}
	if l.Addr == "" {
		return text
	}
	text += ", by " + l.Addr
	if server := at(c.sorted(), l.Addr, l.End); server != nil {
		text += ", " + server.name + "; " + server.story(l.Begin)
	}
	return text + fmt.Sprintf(", end of the call %s", moment(l.End, l.Begin))
}

// story is what a server did, with times relative to a moment.
func (s *life) story(since time.Duration) string {
	var all []string
	for _, step := range []struct {
		name string
		at   time.Duration
	}{{"told to end", s.told}, {"draining", s.draining}, {"goodbye", s.goodbye}, {"stopped", s.stopped}} {
		if step.at != 0 {
			all = append(all, step.name+" "+moment(step.at, since))
		}
	}
	return strings.Join(all, ", ")
}

func moment(at, since time.Duration) string {
	return fmt.Sprintf("%+d ms", (at - since).Milliseconds())
}

func brief(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
