package judge

import (
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// stay is the time in which an instance is to be in etcd: from a Register that returned to the process's goodbye, or its
// loss. What became of a Register that failed nobody knows: it makes no stay.
type stay struct {
	slot
	life        *life
	incarnation string
	from, to    time.Duration
	goodbye     time.Duration // when the process said so
	over        bool          // told to be: by a goodbye, or because it ended by itself
}

func (s *stay) live(at time.Duration) bool { return s.from <= at && at < s.to }

// is reports whether it is the stay of an incarnation. One that is not told may be any.
func (s *stay) is(incarnation string) bool {
	return s.incarnation == incarnation || s.incarnation == "" || incarnation == ""
}

func (r *run) readRegistration(e *journal.Event) {
	k := slot{e.Service, e.ID}
	switch e.What {
	case journal.Registering:
		if l := r.life(e.By, e.At); l.tried[k] == 0 {
			l.tried[k] = e.At
		}
	case journal.Registered:
		if e.Err != "" {
			return
		}
		l := r.life(e.By, e.At)
		if l.tried[k] == 0 {
			l.tried[k] = e.At
		}
		for _, s := range r.staysOf(l, k) {
			s.to = min(s.to, e.At) // another Register of the same process has taken it over
		}
		r.stays[k] = append(r.stays[k], &stay{slot: k, life: l, incarnation: e.Incarnation, from: e.At, to: forever, goodbye: forever})
	case journal.Deregistering:
		for _, s := range r.staysOf(r.life(e.By, e.At), k) {
			s.sayGoodbye(e.At)
		}
	case journal.Ended:
		r.endStay(r.staysOf(r.life(e.By, e.At), k), e)
	}
}

// staysOf returns the stays of a process that are not over, the oldest first.
func (r *run) staysOf(l *life, k slot) []*stay {
	var out []*stay
	for _, s := range r.stays[k] {
		if s.life == l && !s.over {
			out = append(out, s)
		}
	}
	return out
}

// endStay ends the stay that an Ended event is about. One that was taken over in its own process ends before the one that
// took it over.
func (r *run) endStay(stays []*stay, e *journal.Event) {
	for _, s := range stays {
		if s.is(e.Incarnation) {
			s.to, s.over = min(s.to, e.At), true
			return
		}
	}
}

func (s *stay) sayGoodbye(at time.Duration) {
	s.to, s.goodbye, s.over = min(s.to, at), at, true
}

// sayGoodbye ends all stays of a process.
func (r *run) sayGoodbye(l *life, at time.Duration) {
	for k := range l.tried {
		for _, s := range r.staysOf(l, k) {
			s.sayGoodbye(at)
		}
	}
}

// owner returns the stay that has an incarnation; nil if none is known to.
func (r *run) owner(k slot, incarnation string) *stay {
	for _, s := range r.stays[k] {
		if incarnation != "" && s.incarnation == incarnation {
			return s
		}
	}
	return nil
}

// rivals reports whether a process other than one has begun to register an id until a moment.
func (r *run) rivals(l *life, k slot, at time.Duration) bool {
	for _, other := range r.lives {
		if began := other.tried[k]; other != l && began != 0 && began <= at {
			return true
		}
	}
	return false
}
