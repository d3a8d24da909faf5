package check

import (
	"maps"
	"slices"
	"time"

	"github.com/rollcall-io/rollcall"
)

// settling is how long a server has to be there, or to be doubted, before instances move for it: most come back at once.
const settling = 5 * time.Second

// servers are those that share the checks.
type servers struct {
	known   bool     // the registry has told
	live    []string // sorted
	share   share
	settled alarm // set while live is not yet what the registry says
}

// judged divides the servers of a view into those that count and those that may: a draining one is about to go, and of a suspect the
// registry does not know whether it is there.
func judged(v *rollcall.View) (sure, doubted []string) {
	for _, i := range v.Instances {
		switch {
		case i.EffectiveState() == rollcall.StateDraining:
		case i.Suspect:
			doubted = append(doubted, i.ID)
		default:
			sure = append(sure, i.ID)
		}
	}
	return sure, doubted
}

// follow takes the servers as they are now, and reports whether instances are to move. Those that have left make room at once. For others
// nothing moves before settle; when it is doubted of all that they are there, all of them are.
func (l *loop) followServers(v *rollcall.View) bool {
	s := &l.servers
	sure, doubted := judged(v)
	if !s.known {
		s.known = true
		return s.set(sureOr(sure, doubted))
	}
	there := slices.Concat(sure, doubted)
	left := slices.DeleteFunc(slices.Clone(s.live), func(name string) bool { return !slices.Contains(there, name) })
	moved := s.set(left)
	if slices.Equal(s.live, sureOr(sure, doubted)) {
		l.alarms.stop(&s.settled)
	} else if s.settled.spot == 0 {
		l.alarms.set(&s.settled, time.Now().Add(settling))
	}
	return moved
}

func sureOr(sure, doubted []string) []string {
	if len(sure) > 0 {
		return slices.Sorted(slices.Values(sure))
	}
	return slices.Sorted(slices.Values(doubted))
}

// set takes a sorted list of servers, and reports whether it is another one.
func (s *servers) set(live []string) bool {
	if slices.Equal(live, s.live) {
		return false
	}
	s.live, s.share = live, newShare(live)
	return true
}

// settle takes the servers as the registry has them.
func (l *loop) settle() {
	sure, doubted := []string(nil), []string(nil)
	if v := l.views[rollcall.ServerService]; v != nil {
		sure, doubted = judged(v)
	}
	if l.servers.set(sureOr(sure, doubted)) {
		l.share()
	}
}

// mine reports whether this server checks an instance. One that is alone does, registered or not.
func (l *loop) mine(p place) bool {
	return len(l.servers.live) == 0 || l.servers.share.owner(p) == l.checker.config.Self
}

// share gives each instance that asks for it to the server that it falls to.
func (l *loop) share() {
	for service, v := range l.views {
		for _, i := range v.Instances {
			if i.Check != nil {
				l.put(place{service, i.ID}, i)
			}
		}
	}
	l.vanished.forget(time.Now())
}

// vanished are reports that are gone from the registry, which may mean that all is well, or that whoever made them has died.
type vanished map[place]vanishedReport

type vanishedReport struct {
	finding
	at time.Time
}

// memory is how long it is remembered: a server's instance and its reports go together.
const memory = 30 * time.Second

func (v vanished) note(p place, prev *rollcall.Instance, now time.Time) {
	v[p] = vanishedReport{finding{prev.Incarnation, prev.Health}, now}
}

func (v vanished) forget(now time.Time) {
	maps.DeleteFunc(v, func(_ place, r vanishedReport) bool { return now.Sub(r.at) > memory })
}

// inherited returns what another server had found out about an instance that falls to this one now; nil for nothing.
func (l *loop) inherited(p place, i *rollcall.Instance, now time.Time) *rollcall.Health {
	if i.Health != nil {
		if i.Health.Failing {
			return i.Health
		}
		return nil
	}
	r, there := l.vanished[p]
	if !there || r.of != i.Incarnation || now.Sub(r.at) > memory || slices.Contains(l.servers.live, r.health.Checker) {
		return nil
	}
	return r.health
}
