package rollcall

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// A failure prints the seed to replay it from; files beside the code are not needed for that.
func init() { _ = flag.Set("rapid.nofailfile", "true") }

// word is what a write says: a good value, a goodbye, garbage, or nothing because it is a delete.
type word uint8

const (
	good word = iota
	farewell
	rubbish
	deletion
)

// fact is what a view must tell of an instance. Two of them can be compared.
type fact struct {
	ID, Addr, Incarnation    string
	Weight                   int
	Revision, CreateRevision int64
	Lease                    int64
	Suspect                  bool
}

func factOf(i *Instance) fact {
	return fact{i.ID, i.Addr, i.Incarnation, i.Weight, i.Revision, i.CreateRevision, i.lease, i.Suspect}
}

// event is a change as a follower tells it, with what it means.
type event struct {
	follow.Change
	says word
	fact fact
}

// store is etcd as the plainest map, numbering its writes as etcd does.
type store struct {
	rev   int64
	keys  map[string]event // id → what lies under its key
	known map[string]int64 // id → revision that the follower has told
}

func newStore() *store { return &store{keys: map[string]event{}, known: map[string]int64{}} }

// write writes to a key at the present revision.
func (s *store) write(id string, says word, weight int, lease int64) event {
	old, there := s.keys[id]
	e := event{Change: follow.Change{Key: testDir + escapeID(id), Revision: s.rev, Lease: lease, CreateRevision: s.rev}, says: says}
	if there {
		e.CreateRevision = old.CreateRevision
	}
	e.fact = fact{
		ID: id, Addr: fmt.Sprintf("h%d:1", weight%3+1), Incarnation: fmt.Sprint("i", weight%2), Weight: weight,
		Revision: e.Revision, CreateRevision: e.CreateRevision, Lease: lease,
	}
	switch says {
	case deletion:
		e.Change = follow.Change{Key: e.Key, Deleted: true, Revision: s.rev}
		delete(s.keys, id)
		return e
	case rubbish:
		e.Value = []byte(`{"Weight":`)
	case farewell:
		e.Value = fmt.Appendf(nil, `{"Addr":%q,"State":"leaving"}`, e.fact.Addr)
	default:
		e.Value = fmt.Appendf(nil, `{"Addr":%q,"Incarnation":%q,"Weight":%d,"TTL":%d}`, e.fact.Addr, e.fact.Incarnation, weight, ttlOf(weight))
	}
	s.keys[id] = e
	return e
}

// ttlOf makes the TTL of an instance, in seconds, depend on what it says, so that not all are alike.
func ttlOf(weight int) int64 { return int64(10 + 10*(weight%2)) }

// told notes that the follower has told all there is.
func (s *store) told() {
	s.known = map[string]int64{}
	for id, e := range s.keys {
		s.known[id] = e.Revision
	}
}

// relist returns what a list tells: what differs from what was told before, or all there is.
func (s *store) relist(all bool) []event {
	var events []event
	for _, id := range slices.Sorted(maps.Keys(s.keys)) {
		if e := s.keys[id]; all || s.known[id] != e.Revision {
			events = append(events, e)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.known)) {
		if _, there := s.keys[id]; !there {
			events = append(events, event{
				Change: follow.Change{Key: testDir + escapeID(id), Deleted: true, Revision: s.rev}, says: deletion, fact: fact{ID: id},
			})
		}
	}
	s.told()
	return events
}

func changesOf(events []event) (changes []follow.Change) {
	for _, e := range events {
		changes = append(changes, e.Change)
	}
	return changes
}

// line is what the model remembers of one id, for ever.
type line struct {
	here    bool
	now     fact
	number  int  // of the write that made it so
	expired bool // how it went
	unsure  bool // it came and went within a batch: what it went by then, no view has told
}

// moment is one view of the model: everything, copied.
type moment struct {
	lines    map[string]line
	size     int // updates since the moment before
	reset    bool
	revision int64
	stale    time.Time
}

// model keeps every moment and works everything out anew each time it is asked.
type model struct {
	moments []moment
	writes  int
	garbage map[string]int64 // key → revision of the last write that could not be read
	skipped int64
}

func (m *model) newest() moment {
	if len(m.moments) == 0 {
		return moment{}
	}
	return m.moments[len(m.moments)-1]
}

// apply takes a batch, and has a new moment if that changes anything.
func (m *model) apply(events []event, revision int64, relisted, reset bool) {
	before := m.newest()
	next := moment{lines: maps.Clone(before.lines), reset: reset, revision: revision, stale: before.stale}
	if next.lines == nil {
		next.lines = map[string]line{}
	}
	if relisted {
		next.stale = time.Time{}
	}
	moved := map[string]bool{}
	for _, e := range events {
		l := next.lines[e.fact.ID]
		was := l
		m.take(&l, e, reset)
		moved[e.fact.ID] = moved[e.fact.ID] || l.here != was.here
		next.lines[e.fact.ID] = l
	}
	for id := range moved {
		old, l := before.lines[id], next.lines[id]
		if !old.here && !l.here && moved[id] {
			l.unsure = true
			next.lines[id] = l
		}
	}
	next.size = len(between(before, next))
	if len(m.moments) == 0 || reset || next.size > 0 {
		m.moments = append(m.moments, next)
	}
	m.newest().adopt(next)
}

// adopt takes over what is remembered of ids that are not there: no view shows it.
func (o moment) adopt(next moment) {
	for id, l := range next.lines {
		if !l.here {
			o.lines[id] = l
		}
	}
}

func (m *model) take(l *line, e event, reset bool) {
	switch e.says {
	case rubbish:
		if m.garbage[e.Key] != e.Revision {
			m.skipped++
		}
		m.garbage[e.Key] = e.Revision
	case farewell, deletion:
		if l.here {
			l.here, l.expired, l.unsure = false, e.says == deletion, false
		}
	default:
		if l.here && l.now == e.fact && !reset {
			return
		}
		m.writes++
		*l = line{here: true, now: e.fact, number: m.writes}
	}
}

// condition is a moment in which only the freshness is another. What was stale before is so since then.
func (m *model) condition(since time.Time) {
	next := m.newest()
	if !since.IsZero() && !next.stale.IsZero() && next.stale.Before(since) {
		since = next.stale
	}
	if len(m.moments) == 0 || next.stale.Equal(since) {
		return
	}
	next.stale, next.size, next.reset = since, 0, false
	m.moments = append(m.moments, next)
}

// between returns what changed from one moment to another, by id.
func between(from, to moment) map[string]Op {
	ops := map[string]Op{}
	for id, l := range to.lines {
		switch old := from.lines[id]; {
		case !old.here && l.here:
			ops[id] = Add
		case old.here && !l.here:
			ops[id] = Delete
		case old.here && l.here && old.number != l.number:
			ops[id] = Modify
		}
	}
	return ops
}

// remembered counts the newest moments whose changes a feed must still know.
func (m *model) remembered() int {
	views, updates := 0, 0
	for i := len(m.moments) - 1; i >= 0; i-- {
		updates += m.moments[i].size
		if views == ringViews || updates > ringUpdates && views > 0 {
			break
		}
		views++
	}
	return views
}

// someID draws one of a few ids, some of which need escaping.
var someID = rapid.SampledFrom([]string{"a", "a-b", "x/y", "%ü", "[::1]:1"})
