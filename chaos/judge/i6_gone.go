package judge

import (
	"fmt"
	"time"
)

const ruleGone = "what has died or said goodbye is gone from etcd, and stays gone"

// checkGone: I6.
func checkGone(r *run) {
	if r.expect.Gone == 0 {
		return
	}
	for _, l := range r.lives {
		if l.lost == forever {
			continue
		}
		for k := range l.tried {
			r.checkGoneFrom(k, l, l.lost, func(c change) bool { return r.belongs(l, k, c) }, "its process was lost")
		}
	}
	for k, stays := range r.stays {
		for _, s := range stays {
			if s.goodbye < forever && s.incarnation != "" {
				r.checkGoneFrom(k, s.life, s.goodbye, func(c change) bool { return c.incarnation == s.incarnation }, "it said goodbye")
			}
		}
	}
}

func (r *run) checkGoneFrom(k slot, l *life, from time.Duration, mine func(change) bool, why string) {
	lost := []span{{l.lost, l.lost}} // from when on only the end of its lease takes its keys away
	for _, there := range r.store.presence(k, mine) {
		if there.to <= from {
			continue
		}
		deadline := calm(max(from, there.from), r.expect.Gone, r.outages, l.unreachableBefore(l.lost), lost)
		if min(there.to, r.end) > deadline {
			r.report(Violation{
				Invariant: "I6", Rule: ruleGone, At: deadline, Service: k.service, ID: k.id, Process: l.process,
				Detail: fmt.Sprintf("in etcd until %s, though %s at %s", r.until(there.to), why, clock(from-r.began)),
			})
		}
	}
}

// belongs reports whether a key, as a change left it, is what a process registered, as far as can be known.
func (r *run) belongs(l *life, k slot, c change) bool {
	if s := r.owner(k, c.incarnation); s != nil {
		return s.life == l
	}
	return !r.rivals(l, k, forever)
}

// unreachableBefore are the times of which the process came back.
func (l *life) unreachableBefore(at time.Duration) []span {
	if n := len(l.unreachable); n > 0 && l.unreachable[n-1].from == at {
		return l.unreachable[:n-1]
	}
	return l.unreachable
}

// until is an end of a time, in words.
func (r *run) until(at time.Duration) string {
	if at >= r.end {
		return "the end"
	}
	return clock(at - r.began)
}
