package judge

import (
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// store is what etcd held at each of its revisions, by the record.
type store struct {
	epochs []*epoch
	keys   map[slot][]change
	ever   map[slot]map[string]bool // which incarnations were ever there
	odd    map[slot]bool            // keys that are left out of all comparisons, as nobody can say what readers make of them
}

// change is what became of a key.
type change struct {
	event    *journal.Event
	at       time.Duration
	epoch    int
	revision int64
	there    bool // as an instance that is to be in views
	state    string
	lease    int64
	backup   bool   // brought along by a backup, or listed
	was      string // of a deletion: the incarnation that was deleted
	ghost    bool   // of a deletion: what was deleted came with a backup, under a lease that had been given up since

	incarnation string
}

func readStore(events []journal.Event, unreadable bool) *store {
	st := &store{keys: map[slot][]change{}, ever: map[slot]map[string]bool{}, odd: map[slot]bool{}}
	if unreadable {
		for n := range events {
			if e := &events[n]; e.What == journal.Put && e.State == "" {
				st.odd[slot{e.Service, e.ID}] = true
			}
		}
	}
	st.epoch(0)
	var listed []*journal.Event
	for n := range events {
		e := &events[n]
		switch e.What {
		case journal.Put, journal.Deleted:
			ep := st.epoch(e.Epoch)
			if e.Name == Listed {
				listed = append(listed, e)
				continue
			}
			ep.head = max(ep.head, e.Revision)
			st.apply(ep, e, e.Revision)
		case journal.Rewritten:
			if e.Epoch > 0 {
				st.epoch(e.Epoch).began = e.At
			}
		case Floor:
			st.list(st.epoch(e.Epoch), e, listed)
			listed = nil
		case Synced:
			ep := st.epoch(e.Epoch)
			ep.synced, ep.syncedAt = e.Revision, e.At
		}
	}
	return st
}

func (st *store) epoch(n int) *epoch {
	for len(st.epochs) <= n {
		st.epochs = append(st.epochs, &epoch{number: len(st.epochs), now: map[slot]uint64{}, services: map[string][]content{}})
	}
	return st.epochs[n]
}

func (st *store) last() *epoch { return st.epochs[len(st.epochs)-1] }

// list makes what was listed all that there is.
func (st *store) list(ep *epoch, floor *journal.Event, listed []*journal.Event) {
	ep.floor, ep.head = floor.Revision, max(ep.head, floor.Revision)
	gone := ep.now
	ep.now = map[slot]uint64{}
	for _, e := range listed {
		k := slot{e.Service, e.ID}
		if h, found := gone[k]; found {
			ep.now[k] = h
			delete(gone, k)
		}
		st.apply(ep, e, floor.Revision)
	}
	for k, h := range gone {
		ep.now[k] = h
		st.apply(ep, &journal.Event{At: floor.At, What: journal.Deleted, Name: Listed, Epoch: ep.number, Service: k.service, ID: k.id}, floor.Revision)
	}
}

// apply brings a key and its service to an event, as of a revision.
func (st *store) apply(ep *epoch, e *journal.Event, revision int64) {
	if e.Service == "" {
		return
	}
	k := slot{e.Service, e.ID}
	c := change{
		event: e, at: e.At, epoch: ep.number, revision: revision, incarnation: e.Incarnation, state: e.State, lease: e.Lease,
		there:  e.What == journal.Put && e.State != "" && e.State != leaving,
		backup: e.Name == Replayed || e.Name == Listed,
	}
	if e.What == journal.Deleted {
		st.bury(k, &c)
	}
	st.keys[k] = append(st.keys[k], c)
	if c.there {
		if st.ever[k] == nil {
			st.ever[k] = map[string]bool{}
		}
		st.ever[k][c.incarnation] = true
	}
	if !st.odd[k] {
		ep.set(k, c, revision)
	}
}

// bury fills in whose key a deletion has removed.
func (st *store) bury(k slot, c *change) {
	c.was = c.incarnation
	all := st.keys[k]
	if len(all) == 0 || all[len(all)-1].epoch != c.epoch {
		return
	}
	was := all[len(all)-1]
	c.was = was.incarnation
	if !was.backup {
		return
	}
	for _, before := range slices.Backward(all) {
		if before.epoch < c.epoch {
			c.ghost = before.event.What == journal.Deleted || before.lease != was.lease
			break
		}
	}
}

// presence returns when a key was there, in the time of those who told it, and as one of those changes that are wanted.
func (st *store) presence(k slot, wanted func(change) bool) []span {
	var spans []span
	open, number := false, 0
	end := func(at time.Duration) {
		if open {
			spans[len(spans)-1].to = at
		}
		open = false
	}
	for _, c := range st.keys[k] {
		if c.epoch > number {
			end(st.epochs[number+1].began)
			number = c.epoch
		}
		there := c.there && wanted(c)
		if !there {
			end(c.at)
		} else if !open {
			spans, open = append(spans, span{c.at, forever}), true
		}
	}
	if number+1 < len(st.epochs) {
		end(st.epochs[number+1].began)
	}
	return spans
}

// lastChange returns what last became of a key in an epoch up to a revision.
func (st *store) lastChange(k slot, epoch int, revision int64) (change, bool) {
	for _, c := range slices.Backward(st.keys[k]) {
		if c.epoch == epoch && c.revision <= revision {
			return c, true
		}
	}
	return change{}, false
}
