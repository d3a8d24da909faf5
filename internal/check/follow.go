package check

import (
	"time"

	"github.com/rollcall-io/rollcall"
)

// take takes what the registry tells of services. What changed is found by comparing views, which share what has not; so a change costs
// one target at most, and of a service that asks for no checks nothing but the comparison.
func (l *loop) take(o *rollcall.Overview) {
	moved := false
	told := map[string]bool{}
	for _, v := range o.Services { // who shares is known before what there is to share
		told[v.Service] = true
		if v.Service == rollcall.ServerService {
			moved = l.followServers(v)
		}
	}
	if !l.servers.known {
		l.followServers(&rollcall.View{}) // the first time all services are told, so there is none
	}
	for _, v := range o.Services {
		l.takeService(v)
	}
	if o.Complete {
		for service, v := range l.views {
			if !told[service] {
				l.takeService(&rollcall.View{Service: service, Revision: v.Revision})
			}
		}
	}
	if moved {
		l.share()
	}
}

// takeService takes a service as it is now.
func (l *loop) takeService(v *rollcall.View) {
	prev := l.views[v.Service]
	if len(v.Instances) == 0 {
		delete(l.views, v.Service)
	} else {
		l.views[v.Service] = v
	}
	now := time.Now()
	for _, u := range v.Since(prev) {
		p := place{v.Service, u.Instance.ID}
		if u.Op == rollcall.Delete {
			l.remove(p)
			continue
		}
		if failed(u.Prev) && !failed(u.Instance) && u.Prev.Incarnation == u.Instance.Incarnation && u.Prev.Health.Checker != l.checker.config.Self {
			l.vanished.note(p, u.Prev, now)
		}
		l.put(p, u.Instance)
	}
}

func failed(i *rollcall.Instance) bool { return i != nil && i.Health != nil && i.Health.Failing }

// remove forgets an instance that is gone.
func (l *loop) remove(p place) {
	if t := l.targets[p]; t != nil {
		l.drop(t)
	}
	l.tell(p, finding{})
	delete(l.vanished, p)
}

// put has an instance be checked as it asks, if it does and falls to this server.
func (l *loop) put(p place, i *rollcall.Instance) {
	t := l.targets[p]
	check, addr, asks := asked(i)
	if !asks || !l.mine(p) {
		if t != nil {
			l.drop(t)
		}
		l.yield(p, i, asks)
		return
	}
	if t != nil && t.incarnation == i.Incarnation && t.addr == addr && t.check == check {
		t.seen = i.Health
		l.heed(t)
		return
	}
	before := t
	if t != nil {
		l.drop(t)
	}
	t = l.aim(p, i, check, addr)
	if before != nil && before.incarnation == i.Incarnation { // it asks for something else now
		l.goOn(t, before)
		return
	}
	if r := l.reports[p]; r != nil && r.want.of != i.Incarnation {
		l.tell(p, finding{}) // what was said is of the one before it
	}
	if h := l.inherited(p, i, time.Now()); h != nil {
		l.adopt(t, h)
	}
}

// goOn leaves the verdict as it was until probes of the new kind say otherwise.
func (l *loop) goOn(t, before *target) {
	t.verdict, t.told, t.acquitted, t.past = before.verdict, before.told, before.acquitted, before.past
	t.verdict.against = 0
	if t.verdict.failing {
		l.failing++
	}
}

// adopt goes on from what another server has found, and says so at once: its word goes with it.
func (l *loop) adopt(t *target, h *rollcall.Health) {
	t.verdict.adopt(h)
	l.failing++
	l.accuse(t)
}

// heed compares what the registry has of a target with the verdict. What another server says against it, which may have had reason to
// think that it is in charge, is taken over: the next probes decide.
func (l *loop) heed(t *target) {
	h := t.seen
	if h == nil || !h.Failing || t.verdict.failing || l.reports[t.place] != nil || t.echoes(h) {
		return // or this server is about to say otherwise
	}
	l.adopt(t, h)
}

// echoes reports whether a report is the one that this server has taken back, and the registry has yet to notice.
func (t *target) echoes(h *rollcall.Health) bool {
	return h.Revision == t.past && t.past != 0 || sameReport(h, t.told) && time.Since(t.acquitted) < reportPatience+echo
}

// yield gives up what was reported of an instance that is not this server's to check: at once when it asks for no check any more, else
// when its new checker has said something. Until then it stands.
func (l *loop) yield(p place, i *rollcall.Instance, asks bool) {
	r := l.reports[p]
	if r == nil {
		return
	}
	stands := failed(i) && i.Health.Checker == l.checker.config.Self
	if asks && r.want.of == i.Incarnation && (stands || r.busy) {
		return
	}
	l.tell(p, finding{})
}
