package rollcall

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/internal/follow"

	"github.com/rollcall-io/rollcall/internal/without"
)

const (
	// linger is how long a service is followed on after its last watcher closed: gRPC channels that go idle come back.
	linger = 30 * time.Second

	// A feed remembers the changes of this many views, unless they are more than so many updates; of one at least.
	ringViews, ringUpdates = 64, 1024
)

// feed is one followed service: the sink of its follower, the source of its watchers.
type feed struct {
	service, dir string
	logger       *slog.Logger
	garbage      *garbage
	counts       *counts

	// Guarded by the registry's mu.
	follower refresher
	cancel   context.CancelFunc
	users    int
	idle     *time.Timer // runs while there are no users

	mu          sync.Mutex
	view        *View         // the newest, without Updates; nil before the first answer
	seq         uint64        // counts views
	changed     chan struct{} // closed and replaced with each new view
	ring        []delta       // of the newest views, oldest first
	held        int           // updates in ring
	err         error         // why it is stale
	at          follow.Header // where in etcd's history the newest view is
	saved       time.Time     // when the newest view was last written to the snapshot directory
	guard       guard
	believeOnce bool        // the first answer is compared with something too old to doubt for
	doubt       func()      // called when there are new suspects, must not block; nil for a feed that is nobody's
	asking      bool        // doubt was called, and is not done with them all
	settle      *time.Timer // looks at the suspects whose time is up; nil while there are none
	ended       bool        // no timer any more
	decided     *decisions  // what operators decided
	known       bool        // that is known; until then no watcher is told of a view
	answered    func()      // called when etcd has answered; must not block; nil for a feed that is nobody's
	touched     func()      // called with each new view; must not block; nil: nobody wants to know
	watched     bool        // by somebody, once: it is no feed for a single look
}

// delta is what one view changed over the one before it.
type delta struct {
	updates []Update
	reset   bool
}

func newFeed(service, dir string, s settings) *feed {
	return &feed{
		service: service, dir: dir, logger: s.logger, changed: make(chan struct{}),
		garbage: s.garbage, counts: s.counts, guard: newGuard(s.suspicion),
		decided: noDecisions, known: true,
	}
}

// Read implements [follow.Sink]: an instance, or why there is none.
func (f *feed) Read(key string, value []byte) any {
	id, ok := idOf(f.dir, key)
	if !ok {
		return nil // it is not the service's
	}
	i, err := decodeInstance(id, value)
	if err != nil {
		return err
	}
	return i
}

// Apply implements [follow.Sink].
func (f *feed) Apply(b follow.Batch) {
	if f.answered != nil {
		f.answered()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var before []*Instance
	if f.view != nil {
		before = f.view.Instances
	}
	accepted := !b.Reset && b.Revision <= f.decided.accepted
	f.guard.begin(b.Revision, b.Reset)
	updates := f.steer(f.believe(before, f.reduce(before, b), b.Reset, accepted))
	f.at = b.Header
	if f.view != nil && len(updates) == 0 && !b.Reset {
		return
	}
	next := &View{Service: f.service, Revision: b.Revision, Instances: applyUpdates(before, updates), Policy: f.decided.policy}
	if f.view != nil {
		next.era = f.view.era
	}
	if b.Reset {
		next.era++
	}
	if f.view != nil && !b.Relisted { // a list is current, whatever came before it
		next.StaleSince, next.StaleErr = f.view.StaleSince, f.view.StaleErr
	}
	f.publish(next, delta{updates: updates, reset: b.Reset})
}

// reduce turns changes of keys into updates of instances, merged to one per instance and sorted by id.
func (f *feed) reduce(before []*Instance, b follow.Batch) []Update {
	if b.Relisted {
		return f.reduceList(before, b)
	}
	merged := make(map[string]Update, len(b.Changes))
	for _, c := range b.Changes {
		id, ok := idOf(f.dir, c.Key)
		if !ok {
			continue
		}
		prev := lastKnown(before, merged, id)
		u, ok := f.updateOf(id, c, prev, b.Reset)
		if !ok {
			continue
		}
		if old, was := merged[id]; was {
			if u, ok = merge(old, u); !ok {
				delete(merged, id)
				f.guard.heard(id) // it came and went: it has spoken all the same
				continue
			}
		}
		merged[id] = u
	}
	return sortUpdates(merged)
}

// reduceList is reduce for a list, which has every key once: there is nothing to merge.
func (f *feed) reduceList(before []*Instance, b follow.Batch) []Update {
	updates := make([]Update, 0, len(b.Changes))
	for _, c := range b.Changes {
		id, ok := idOf(f.dir, c.Key)
		if !ok {
			continue
		}
		if u, ok := f.updateOf(id, c, lastKnown(before, nil, id), b.Reset); ok {
			updates = append(updates, u)
		}
	}
	if !slices.IsSortedFunc(updates, compareUpdates) {
		slices.SortFunc(updates, compareUpdates)
	}
	return updates
}

// lastKnown returns an instance as it is after the updates so far; nil when it is absent.
func lastKnown(before []*Instance, merged map[string]Update, id string) *Instance {
	if u, ok := merged[id]; ok {
		if u.Op == Delete {
			return nil
		}
		return u.Instance
	}
	if n, ok := slices.BinarySearchFunc(before, id, compareID); ok {
		return before[n]
	}
	return nil
}

// updateOf reads one change. A value that cannot be read changes nothing: the last good one stays. After a reset the same
// revision is another write.
func (f *feed) updateOf(id string, c follow.Change, prev *Instance, reset bool) (Update, bool) {
	gone := Update{Op: Delete, Instance: prev, Prev: prev}
	if c.Deleted {
		gone.Expired = true
		return gone, prev != nil && !prev.Suspect // of a suspect that is known already
	}
	read := c.Read
	if read == nil {
		read = f.Read(c.Key, c.Value)
	}
	i, ok := read.(*Instance)
	if !ok {
		err, _ := read.(error)
		f.skip(c, err)
		return gone, without.Skip && prev != nil
	}
	i.Revision, i.CreateRevision, i.lease = c.Revision, c.CreateRevision, c.Lease
	switch {
	case i.State == stateLeaving:
		return gone, prev != nil
	case prev == nil:
		return Update{Op: Add, Instance: i}, true
	case !reset && prev.sameWrite(i) && !prev.Suspect:
		return Update{}, false
	}
	return Update{Op: Modify, Instance: i, Prev: prev}, true
}

// sameWrite reports whether two instances were read from one write to one key. The revision alone does not tell: it
// begins anew when a store is wiped.
func (i *Instance) sameWrite(o *Instance) bool {
	return i.Revision == o.Revision && i.CreateRevision == o.CreateRevision && i.Incarnation == o.Incarnation &&
		i.lease == o.lease && i.Addr == o.Addr
}

// skip counts a value that cannot be read, and logs it once.
func (f *feed) skip(c follow.Change, err error) {
	if f.garbage.met(f.service, c.Key, c.Revision) {
		f.logger.Warn("value cannot be read, skipped", "service", f.service, "key", c.Key, "revision", c.Revision, "err", err)
	}
}

// Fresh implements [follow.Sink].
func (f *feed) Fresh() { f.condition(time.Time{}, nil) }

// Stale implements [follow.Sink].
func (f *feed) Stale(since time.Time, err error) { f.condition(since, refused(err)) }

// condition publishes a change of freshness as a view of its own. One that was recalled from a snapshot has been stale
// for longer than etcd was found out of reach.
func (f *feed) condition(since time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	if f.view == nil {
		return
	}
	was := f.view.StaleSince
	if !since.IsZero() && !was.IsZero() && was.Before(since) {
		since = was
	}
	if was.Equal(since) && (f.view.StaleErr != errRecalled || err == nil) {
		return
	}
	next := *f.view
	next.StaleSince, next.StaleErr = since, err
	f.publish(&next, delta{})
}

// publish tells watchers of a view, as soon as it is known what operators decided.
func (f *feed) publish(v *View, d delta) {
	f.view = v
	f.saved = time.Time{}
	if !f.known {
		return
	}
	if f.seq > 0 && (f.watched || f.touched != nil) {
		f.counts.told(d.updates)
	}
	f.seq++
	f.ring = append(f.ring, d)
	f.held += len(d.updates)
	for len(f.ring) > ringViews || f.held > ringUpdates && len(f.ring) > 1 {
		f.held -= len(f.ring[0].updates)
		f.ring[0] = delta{}
		f.ring = f.ring[1:]
	}
	close(f.changed)
	f.changed = make(chan struct{})
	if f.touched != nil {
		f.touched()
	}
}

// has reports whether there is a view, also one that nobody may see yet.
func (f *feed) has() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view != nil
}

// shown returns the newest view that watchers may see; nil when there is none.
func (f *feed) shown() *View {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seq == 0 {
		return nil
	}
	return f.view
}

// barren reports whether nobody was lost of the service, either, of late.
func (f *feed) barren() bool {
	if !f.empty() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.guard.recent) == 0
}

// empty reports whether there is nothing to tell of the service.
func (f *feed) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return (f.view == nil || len(f.view.Instances) == 0) && f.decided.policy == nil && len(f.decided.overrides) == 0
}

// stale returns the newest view as one that is stale at the latest since the given time, and why; nil when there is none.
func (f *feed) stale(since time.Time, err error) *View {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.view == nil {
		return nil
	}
	v := *f.view
	if v.StaleSince.IsZero() {
		v.StaleSince, v.StaleErr = since, err
	}
	return &v
}

// newer returns the newest view with what it changed since the view number seq, which the watcher has as last. When
// there is none it returns a channel that is closed when there is.
func (f *feed) newer(seq uint64, last *View) (v *View, number uint64, wait <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched = true
	if f.view == nil || f.seq == seq {
		return nil, 0, f.changed
	}
	next := *f.view
	if missed := f.seq - seq; last != nil && missed <= uint64(len(f.ring)) {
		next.Updates, next.Reset = mergeDeltas(f.ring[len(f.ring)-int(missed):])
	} else {
		if last == nil {
			last = &View{era: next.era}
		}
		next.Reset = next.era != last.era // too far behind for the ring
		next.Updates = diff(last.Instances, next.Instances, !next.Reset)
	}
	return &next, f.seq, nil
}

// size returns how many instances there are in the newest view.
func (f *feed) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.view == nil {
		return 0
	}
	return len(f.view.Instances)
}

func (f *feed) lastErr() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *feed) status(users int) ServiceStatus {
	f.mu.Lock()
	v, err := f.view, f.err
	f.mu.Unlock()
	s := ServiceStatus{Service: f.service, Watchers: users, Err: err, Skipped: f.garbage.count(f.service)}
	if v == nil {
		return s
	}
	s.Revision, s.Instances, s.StaleSince = v.Revision, len(v.Instances), v.StaleSince
	for _, i := range v.Instances { // of a view, which is immutable: nobody waits for the lock meanwhile
		if i.Suspect {
			s.Suspects++
		}
		if !i.Healthy() {
			s.Unhealthy++
		}
		if i.EffectiveState() == StateDraining {
			s.Draining++
		}
	}
	return s
}
