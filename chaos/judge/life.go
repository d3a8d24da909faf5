package judge

import (
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// life is a process from its start to its end. A process that is started again under its name has another one.
type life struct {
	process  string
	from, to time.Duration
	started  bool
	ended    bool // so that whatever is told next is of another life

	unreachable []span                 // when it could reach no member, was stopped or dead
	lost        time.Duration          // from when on it was so for good
	tried       map[slot]time.Duration // what it has begun to register, and when first
	closing     *journal.Event
	closed      *journal.Event
	exited      *journal.Event
}

// life returns the present life of a process.
func (r *run) life(process string, at time.Duration) *life {
	if l := r.living[process]; l != nil && !l.ended {
		return l
	}
	l := &life{process: process, from: at, to: forever, lost: forever, tried: map[slot]time.Duration{}}
	r.living[process] = l
	r.lives = append(r.lives, l)
	return l
}

// readProcesses reads what the processes tell of themselves, and the run of them.
func (r *run) readProcesses() {
	for n := range r.events {
		e := &r.events[n]
		switch e.What {
		case journal.Started:
			l := r.life(e.By, e.At)
			if l.started {
				l.to, l.ended = e.At, true
				l = r.life(e.By, e.At)
			}
			l.started = true
		case journal.Closing:
			l := r.life(e.By, e.At)
			l.closing = e
			r.sayGoodbye(l, e.At)
		case journal.Closed:
			r.life(e.By, e.At).closed = e
		case journal.Unreachable:
			l := r.life(e.Target, e.At)
			if !l.cutOff() {
				l.unreachable = append(l.unreachable, span{e.At, forever})
			}
		case journal.Reachable:
			if l := r.life(e.Target, e.At); l.cutOff() {
				l.unreachable[len(l.unreachable)-1].to = e.At
			}
		case journal.Exited:
			if l := r.living[e.Target]; l != nil && !l.ended {
				l.exited, l.to, l.ended = e, e.At, true
			}
		default:
			r.readRegistration(e)
		}
	}
	for _, l := range r.lives {
		l.settle()
	}
	for _, stays := range r.stays {
		for _, s := range stays {
			s.to = min(s.to, s.life.lost)
		}
	}
}

// cutOff reports whether the process has been out of reach ever since.
func (l *life) cutOff() bool {
	return len(l.unreachable) > 0 && l.unreachable[len(l.unreachable)-1].to == forever
}

// settle finds out when the process was lost: out of reach to its end, or ended without having closed.
func (l *life) settle() {
	switch {
	case l.cutOff():
		l.lost = l.unreachable[len(l.unreachable)-1].from
	case l.ended && l.closed == nil:
		l.lost = l.to
	}
}

// excused reports whether the process may have had no living lease at a moment, because etcd heard nothing of it. Its last
// heartbeat was at most 0.37 TTL before it went out of reach.
func (r *run) excused(l *life, at time.Duration) bool {
	for _, s := range l.unreachable {
		if at >= s.from+r.expect.TTL*6/10 && at <= after(s.to, settling) {
			return true
		}
	}
	return false
}
