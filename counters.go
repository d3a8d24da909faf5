package rollcall

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Counters are what a registry has seen happen since it was made. They never go down.
type Counters struct {
	Registered int64 // registrations that were confirmed, those that were resumed among them
	Replaced   int64 // registrations that ended because another one took their key, see [ErrReplaced]
	Healed     int64 // times that a registration was put back: its key was removed or overwritten, or its lease was lost
	LeasesLost int64 // leases that etcd ended while they were needed, and that were granted anew
	Skipped    int64 // values that could not be read, each write counted once

	// Views counts the views of followed services after the first of each, and the others the changes of instances that they told of.
	// Views that a slow watcher skips count like all others.
	Views     int64
	Joined    int64
	Changed   int64 // what an instance says of itself, what operators decided or what a check found; a restart under the same id, too
	Left      int64 // with a goodbye
	Expired   int64 // without one, and believed
	Suspected int64 // without one, and doubted
}

// Registrations counts the registrations of a registry that live.
type Registrations struct {
	Registered int // etcd has them, as far as is known
	Healing    int // they are being put back, see [Healing]
}

// counts is where a registry counts.
type counts struct {
	healed                                           atomic.Int64
	views, joined, changed, left, expired, suspected atomic.Int64

	mu                   sync.Mutex // taken before a keeper's
	registered, replaced int64
	live                 map[*Registration]struct{} // and some that have ended since the last sweep
	sweepAt              int                        // how many there are to be in live before it is swept again
}

// minSweep is how many registrations are kept at least before those that have ended are looked for.
const minSweep = 64

// began counts a registration that was confirmed. To look at all of them whenever they have doubled costs each of them little.
func (c *counts) began(g *Registration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		c.live, c.sweepAt = map[*Registration]struct{}{}, minSweep
	}
	c.registered++
	c.live[g] = struct{}{}
	if len(c.live) >= c.sweepAt {
		c.sweepLocked()
		c.sweepAt = max(minSweep, 2*len(c.live))
	}
}

// sweepLocked counts the registrations that live, and forgets those that have ended.
func (c *counts) sweepLocked() Registrations {
	var n Registrations
	for g := range c.live {
		switch st := g.Status(); st.State {
		case Ended:
			if errors.Is(st.Err, ErrReplaced) {
				c.replaced++
			}
			delete(c.live, g)
		case Healing:
			n.Healing++
		default:
			n.Registered++
		}
	}
	return n
}

// told counts a view that watchers are told of.
func (c *counts) told(updates []Update) {
	c.views.Add(1)
	for _, u := range updates {
		c.of(u).Add(1)
	}
}

func (c *counts) of(u Update) *atomic.Int64 {
	switch {
	case u.Op == Delete && u.Expired:
		return &c.expired
	case u.Op == Delete:
		return &c.left
	case u.Instance.Suspect && (u.Op == Add || !u.Prev.Suspect):
		return &c.suspected
	case u.Op == Add:
		return &c.joined
	}
	return &c.changed
}

// status adds what was counted to a status.
func (c *counts) status(s *Status) {
	c.mu.Lock()
	s.Registrations = c.sweepLocked()
	s.Counters.Registered, s.Counters.Replaced, s.Counters.Healed = c.registered, c.replaced, c.healed.Load()
	c.mu.Unlock()
	s.Counters.Views = c.views.Load()
	s.Counters.Joined, s.Counters.Changed = c.joined.Load(), c.changed.Load()
	s.Counters.Left, s.Counters.Expired, s.Counters.Suspected = c.left.Load(), c.expired.Load(), c.suspected.Load()
}

// total returns how many values could not be read, of whichever service.
func (g *garbage) total() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var n int64
	for _, count := range g.counts {
		n += count
	}
	return n
}
