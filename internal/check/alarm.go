package check

import (
	"container/heap"
	"time"
)

// alarm is something to be done at a time. It belongs to at most one set of alarms.
type alarm struct {
	at   time.Time
	ring func()
	spot int // in the heap, counted from 1; 0: it is not set
}

// alarms are those that are set, the next one first: all of them share one timer.
type alarms []*alarm

// set has an alarm ring at a time, and not when it was to ring before.
func (s *alarms) set(a *alarm, at time.Time) {
	a.at = at
	if a.spot > 0 {
		heap.Fix(s, a.spot-1)
		return
	}
	heap.Push(s, a)
}

// stop has an alarm not ring.
func (s *alarms) stop(a *alarm) {
	if a.spot > 0 {
		heap.Remove(s, a.spot-1)
	}
}

// ring rings what is due, and returns how long it is until the next one; false when none is set.
func (s *alarms) ring(now time.Time) (time.Duration, bool) {
	for len(*s) > 0 {
		next := (*s)[0]
		if wait := next.at.Sub(now); wait > 0 {
			return wait, true
		}
		heap.Pop(s)
		next.ring()
	}
	return 0, false
}

// The methods of [heap.Interface].

func (s alarms) Len() int           { return len(s) }
func (s alarms) Less(i, j int) bool { return s[i].at.Before(s[j].at) }

func (s alarms) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].spot, s[j].spot = i+1, j+1
}

func (s *alarms) Push(x any) {
	a := x.(*alarm)
	*s = append(*s, a)
	a.spot = len(*s)
}

func (s *alarms) Pop() any {
	last := len(*s) - 1
	a := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	a.spot = 0
	return a
}
