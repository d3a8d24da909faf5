package simulation

import (
	"maps"
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

const (
	election   = 3500 * time.Millisecond // in which nothing can be written
	quiet      = 20 * time.Second        // without a fault, after which every watch stands again
	backAtOnce = 100 * time.Millisecond  // for a key whose watch stands
)

// absence is a live instance whose key is away, or another's.
type absence struct {
	since time.Time
	quiet bool // before, so that it is to be noticed at once
}

// stayAt returns the stay of an id that was alive at a moment.
func (o *oracle) stayAt(id string, t time.Time) *stay {
	for _, s := range slices.Backward(o.stays[id]) {
		if s.at(t) {
			return s
		}
	}
	return nil
}

// judgeDeletion asks who took a live instance's key away. Strangers may, and it comes back; etcd for want of
// heartbeats, or the library itself, may not.
func (o *oracle) judgeDeletion(e *era, r simetcd.Revision, id string) {
	s := o.stayAt(id, r.At)
	if s == nil || r.Cause == "test" {
		return
	}
	was := e.now[id]
	if mine, _ := s.Wanted(); was.Incarnation != mine || e.ghosts[was.lease] {
		return // it was not as it should be before, and is on its way back
	}
	o.w.fail("never falsely absent", "at %.3fs %s was deleted, revision %d, by %s", r.At.Sub(o.w.began).Seconds(), id, r.Revision, r.Cause)
}

// notice looks whether a live instance's key is its own, after it changed.
func (o *oracle) notice(id string, at time.Time) {
	away, wasAmiss := o.amiss[id]
	s := o.stayAt(id, at)
	switch {
	case s == nil:
		delete(o.amiss, id)
	case o.asWanted(s):
		delete(o.amiss, id)
		if wasAmiss {
			o.judgeReturn(s, away, at)
		}
	case !wasAmiss:
		// A store that was replaced is not what strangers do to one that stands.
		sudden := at.Equal(o.w.struckAt) && !at.Equal(o.era().began)
		o.amiss[id] = absence{at, sudden && o.w.quietBefore >= quiet}
	}
}

// asWanted reports whether an instance's key was written by its stay, whatever its weight.
func (o *oracle) asWanted(s *stay) bool {
	mine, _ := s.Wanted()
	f, there := o.era().now[s.id]
	return there && f.Incarnation == mine && !f.leaving()
}

// bound is how long after the last fault an instance may be away: a heartbeat, one that meets a bad connection, and an
// election.
func (o *oracle) bound(s *stay) time.Duration {
	d := s.ttl*11/30 + min(2*time.Second, s.ttl/6) + election + o.w.grace
	if o.w.auth {
		d += 3 * time.Second // a refusal is not repeated at once
	}
	return d
}

func (o *oracle) judgeReturn(s *stay, a absence, at time.Time) {
	if a.quiet && at.Sub(a.since) > backAtOnce {
		o.w.fail("back in time", "nothing but a stranger was at work, and %s came back after %v", s.id, at.Sub(a.since))
	}
	if d := at.Sub(later(a.since, o.w.calmSince)); d > o.bound(s) {
		o.w.fail("back in time", "%s came back after %v, its bound is %v", s.id, d, o.bound(s))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// judgeStays holds those that live now against what must hold at any time.
func (o *oracle) judgeStays() {
	for _, r := range o.w.registrars {
		for _, id := range sortedKeys(r.live) {
			s := r.live[id]
			if err := s.Err(); err != nil {
				o.w.fail("registration lasts", "%s ended: %v", id, err)
			}
			a, away := o.amiss[id]
			if !away || o.w.ill > 0 {
				continue
			}
			if d := time.Since(later(a.since, o.w.calmSince)); d > o.bound(s) {
				o.w.fail("back in time", "%s is still away after %v, its bound is %v", id, d, o.bound(s))
			}
		}
	}
}

// judgeWanted holds the end against what is wanted.
func (o *oracle) judgeWanted() {
	type wish struct {
		incarnation string
		weight      int
	}
	wanted, found := map[string]wish{}, map[string]wish{}
	for _, r := range o.w.registrars {
		for id, s := range r.live {
			incarnation, weight := s.Wanted()
			wanted[id] = wish{incarnation, weight}
		}
	}
	for _, p := range o.w.processes {
		for id, i := range p.instances {
			wanted[id] = wish{i.incarnation, i.weight}
		}
	}
	for id, f := range factsOf(o.w.cluster.Keys(dir)) {
		if f.Incarnation != "" && (!o.strangers[f.lease] || o.w.writes(f.lease)) {
			found[id] = wish{f.Incarnation, f.Weight}
		}
	}
	if !maps.Equal(wanted, found) {
		o.w.fail("etcd as wanted", "etcd has  %v\nwanted are %v", found, wanted)
	}
}

// nothingLeft holds the time after every Close against what may be left: what strangers wrote.
func (o *oracle) nothingLeft() {
	if o.w.broken != nil {
		return
	}
	for key, kv := range o.w.cluster.Keys(dir) {
		if !o.strangers[kv.Lease] && factOf(kv).Incarnation != "" {
			o.w.fail("clean close", "%s is left, under lease %x", key, kv.Lease)
		}
	}
	for _, l := range o.w.cluster.Leases() {
		if !o.strangers[l] && !o.era().ghosts[l] {
			o.w.fail("clean close", "lease %x is left", l)
		}
	}
}
