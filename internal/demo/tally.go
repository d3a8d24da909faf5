package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// tally is what is printed at the end.
type tally struct {
	made, failed int
	causes       []cause // of the failed calls, most first
	servers      []serverTally
	promises     []promise
}

// cause is what a number of failed calls have in common.
type cause struct {
	n     int
	what  string // the code, and to whom they were sent
	kills bool   // the kill's own: nothing is promised about these
	text  string // what the first of them said
}

// serverTally is the line about one server. Durations are below zero for what has not happened.
type serverTally struct {
	id        string
	calls     int
	firstCall time.Duration // from joining the view to the first call
	gone      time.Duration // from SIGKILL or SIGTERM to out of the view
	how       string        // "killed" or "drained"
}

// broken says, of each promise that did not hold, which it is and what was seen.
func (t tally) broken() []string {
	var broken []string
	for _, p := range t.promises {
		if !p.held {
			broken = append(broken, p.text+" ("+p.seen+")")
		}
	}
	return broken
}

func (f *facts) tally() tally {
	t := tally{made: f.unsent, failed: len(f.failures), causes: f.causes()}
	for _, tr := range f.traffic {
		t.made += tr.calls
	}
	for _, id := range slices.Sorted(maps.Keys(f.servers)) {
		t.servers = append(t.servers, f.serverTally(id))
	}
	t.promises = f.promises()
	return t
}

// causes groups the failed calls.
func (f *facts) causes() []cause {
	var causes []cause
	for _, c := range f.failures {
		own := f.killsOwn(c)
		what := fmt.Sprintf("%s, sent to %s", c.code, f.nameOf(c.addr))
		if own {
			what = fmt.Sprintf("%s, in flight to %s when it was killed", c.code, killedServer)
		}
		n := slices.IndexFunc(causes, func(known cause) bool { return known.what == what })
		if n < 0 {
			n = len(causes)
			causes = append(causes, cause{what: what, kills: own, text: c.message})
		}
		causes[n].n++
	}
	slices.SortStableFunc(causes, func(a, b cause) int { return cmp.Compare(b.n, a.n) })
	return causes
}

func (f *facts) nameOf(addr string) string {
	if addr == "" {
		return "nobody"
	}
	for id, s := range f.servers {
		if s.addr == addr {
			return id
		}
	}
	return addr
}

func (f *facts) serverTally(id string) serverTally {
	s := f.servers[id]
	t := serverTally{id: id, firstCall: -1, gone: -1}
	if tr := f.traffic[s.addr]; tr != nil {
		t.calls = tr.calls
		t.firstCall = max(0, tr.firstSent.Sub(s.joined))
	}
	end := s.killed
	switch {
	case !s.killed.IsZero():
		t.how = "killed"
	case !s.drained.IsZero():
		t.how, end = "drained", s.drained
	default:
		return t
	}
	if !s.gone.IsZero() {
		t.gone = s.gone.Sub(end)
	}
	return t
}

// round makes a duration readable: three figures are enough.
func round(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
