package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The bounds that are promised.
const (
	// inFlightSlack is how long after the end of a killed process calls may still be sent to it and fail: nobody can know
	// sooner than the connection that it is dead, and the kernel closes that when it ends the process. The rest is for the
	// caller to be given a processor, on machines that are busy.
	inFlightSlack = 250 * time.Millisecond

	// expirySlack is how much longer than its TTL a dead server may stay in the view: etcd looks for expired leases
	// twice a second. The margin on top is for machines that are slow or busy.
	expirySlack  = 500 * time.Millisecond
	expiryMargin = 1500 * time.Millisecond
)

// promise is something that rollcall promises, and whether it held.
type promise struct {
	text string
	held bool
	seen string // what was seen
}

func (f *facts) promises() []promise {
	return []promise{
		f.onlyTheKillFailed(),
		f.drainedFailedNone(),
		f.drainedSaidGoodbye(),
		f.joinersGotCalls(),
		f.killedExpired(),
		f.othersStayed(),
	}
}

// killsOwn reports whether a failed call was in flight when its server was killed: nothing could have saved it.
func (f *facts) killsOwn(c call) bool {
	s := f.servers[killedServer]
	return s != nil && !s.ended.IsZero() && c.addr != "" && c.addr == s.addr && c.sent.Before(s.ended.Add(inFlightSlack))
}

func (f *facts) onlyTheKillFailed() promise {
	p := promise{text: "no call failed but those in flight at the kill", seen: "none did"}
	others, example := 0, ""
	for _, c := range f.causes() {
		if !c.kills {
			others += c.n
			example = cmp.Or(example, fmt.Sprintf("%s: %s", c.what, c.text))
		}
	}
	p.held = others == 0
	if others > 0 {
		p.seen = fmt.Sprintf("%d more did, such as %s", others, example)
	}
	return p
}

func (f *facts) drainedFailedNone() promise {
	p := promise{text: "the drained server failed no call"}
	s := f.servers[drainedServer]
	if s == nil || f.traffic[s.addr] == nil {
		p.seen = drainedServer + " got no calls"
		return p
	}
	failed := 0
	for _, c := range f.failures {
		if c.addr == s.addr {
			failed++
		}
	}
	p.held = failed == 0
	p.seen = fmt.Sprintf("%s failed %d of %d", drainedServer, failed, f.traffic[s.addr].calls)
	return p
}

func (f *facts) drainedSaidGoodbye() promise {
	p := promise{text: "the drained server said goodbye and ended"}
	switch s := f.servers[drainedServer]; {
	case s == nil || s.gone.IsZero():
		p.seen = drainedServer + " is still in the view"
	case s.expired:
		p.seen = drainedServer + " expired"
	case !s.stopped:
		p.seen = fmt.Sprintf("%s left the view, but its process still runs", drainedServer)
	case s.stopErr != nil:
		p.seen = s.stopErr.Error()
	default:
		p.held = true
		p.seen = fmt.Sprintf("%s left the view %v after SIGTERM", drainedServer, round(s.gone.Sub(s.drained)))
	}
	return p
}

func (f *facts) joinersGotCalls() promise {
	p := promise{text: "both joiners got calls", held: true}
	var seen []string
	for _, id := range joiners {
		s := f.servers[id]
		switch {
		case s == nil:
			seen, p.held = append(seen, id+" did not join"), false
		case f.traffic[s.addr] == nil:
			seen, p.held = append(seen, id+" got none"), false
		default:
			seen = append(seen, fmt.Sprintf("%s after %v", id, round(f.serverTally(id).firstCall)))
		}
	}
	p.seen = strings.Join(seen, ", ")
	return p
}

func (f *facts) killedExpired() promise {
	const bound = ttl + expirySlack + expiryMargin
	p := promise{text: fmt.Sprintf("the killed server left the view within %v (TTL %v + %v, and a margin)", bound, ttl, expirySlack)}
	s := f.servers[killedServer]
	if s == nil || s.killed.IsZero() || s.gone.IsZero() {
		p.seen = killedServer + " is still in the view"
		return p
	}
	took := s.gone.Sub(s.killed)
	p.held = took >= 0 && took <= bound
	p.seen = fmt.Sprintf("%s was out after %v", killedServer, round(took))
	return p
}

func (f *facts) othersStayed() promise {
	p := promise{text: "no other server left the view", held: true, seen: "none did"}
	for _, id := range slices.Sorted(maps.Keys(f.servers)) {
		s := f.servers[id]
		allowed := 0
		if !s.killed.IsZero() || !s.drained.IsZero() {
			allowed = 1
		}
		if s.left > allowed {
			p.held, p.seen = false, id+" did"
		}
	}
	return p
}
