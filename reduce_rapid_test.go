package rollcall

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// reducing is a feed, the model beside it, and readers that have got as far as some moment of the model.
type reducing struct {
	feed    *feed
	store   *store
	model   *model
	readers []*reader
	at      []int // moments that each reader has seen
	clock   time.Time
	floods  bool
}

func newReducing() *reducing {
	r := &reducing{
		feed:  newFeed("svc", testDir, newSettings([]Option{WithSuspicion(0)})),
		store: newStore(), model: &model{garbage: map[string]int64{}}, clock: time.Unix(1e9, 0),
	}
	for range 3 {
		r.readers, r.at = append(r.readers, &reader{}), append(r.at, 0)
	}
	return r
}

func (r *reducing) apply(events []event, relisted, reset bool) {
	changes := changesOf(events)
	r.feed.Apply(follow.Batch{Header: follow.Header{Revision: r.store.rev}, Changes: changes, Relisted: relisted, Reset: reset})
	r.model.apply(events, r.store.rev, relisted, reset)
}

// writes draws what happens to a few keys, in one revision or several.
func (r *reducing) writes(t *rapid.T, revisions int) (events []event) {
	for range revisions {
		r.store.rev++
		for _, id := range rapid.SliceOfNDistinct(someID, 1, 3, rapid.ID).Draw(t, "ids") {
			says := rapid.SampledFrom([]word{good, good, good, farewell, rubbish, deletion}).Draw(t, "says")
			if _, there := r.store.keys[id]; says == deletion && !there {
				continue // etcd tells no delete of a key that is not there
			}
			weight := rapid.IntRange(1, 9).Draw(t, "weight")
			events = append(events, r.store.write(id, says, weight, int64(weight%4)))
		}
	}
	return events
}

func (r *reducing) Write(t *rapid.T) {
	events := r.writes(t, rapid.IntRange(1, 4).Draw(t, "revisions"))
	r.store.told()
	r.apply(events, false, false)
}

// Burst is more views than the ring holds, of a change each.
func (r *reducing) Burst(t *rapid.T) {
	for range rapid.IntRange(1, ringViews+3).Draw(t, "batches") {
		r.store.rev++
		e := r.store.write("busy", good, int(r.store.rev%9)+1, 0)
		r.store.told()
		r.apply([]event{e}, false, false)
	}
}

// Flood changes so many instances at once that the ring gives up on others.
func (r *reducing) Flood(t *rapid.T) {
	if !r.floods {
		return // the model keeps everything, and a thousand instances take their time: only some runs have floods
	}
	n := rapid.SampledFrom([]int{ringUpdates / 3, ringUpdates/2 + 1, ringUpdates + 1}).Draw(t, "instances")
	says := rapid.SampledFrom([]word{good, farewell, deletion}).Draw(t, "says")
	r.store.rev++
	var events []event
	for i := range n {
		id := fmt.Sprintf("flood-%04d", i)
		if _, there := r.store.keys[id]; there || says != deletion {
			events = append(events, r.store.write(id, says, 5, 1))
		}
	}
	r.store.told()
	r.apply(events, false, false)
}

// Foreign is what lies beside the service's keys.
func (r *reducing) Foreign(t *rapid.T) {
	r.store.rev++
	key := rapid.SampledFrom([]string{testDir + "a/b", testDir, "rollcall/services/svcx/a", "a", ""}).Draw(t, "key")
	batch := follow.Batch{Header: follow.Header{Revision: r.store.rev}, Changes: []follow.Change{
		{Key: key, Value: []byte(`{"Addr":"h:1"}`), Revision: r.store.rev, CreateRevision: r.store.rev},
		{Key: key, Deleted: true, Revision: r.store.rev},
	}}
	r.feed.Apply(batch)
	r.model.apply(nil, r.store.rev, false, false)
}

// Relist is what a list tells after changes that no watch saw.
func (r *reducing) Relist(t *rapid.T) {
	r.writes(t, rapid.IntRange(0, 4).Draw(t, "unseen"))
	r.apply(r.store.relist(rapid.Bool().Draw(t, "all")), true, false)
}

// Reset is a store that was wiped or restored: other revisions, perhaps the same numbers again, and some keys missing.
func (r *reducing) Reset(t *rapid.T) {
	s := newStore()
	s.known = r.store.known
	s.rev = rapid.SampledFrom([]int64{1, r.store.rev, r.store.rev + 5}).Draw(t, "revision")
	for _, id := range slices.Sorted(maps.Keys(r.store.keys)) {
		e := r.store.keys[id]
		switch {
		case rapid.Bool().Draw(t, "missing"):
		case rapid.Bool().Draw(t, "restored"):
			s.keys[id] = e
		default:
			s.write(id, good, 3, 1)
		}
	}
	r.store = s
	r.apply(s.relist(true), true, true)
}

func (r *reducing) Stale(t *rapid.T) {
	r.clock = r.clock.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "later")) * time.Second)
	r.feed.Stale(r.clock, errors.New("out of reach"))
	r.model.condition(r.clock)
}

func (r *reducing) Fresh(*rapid.T) {
	r.feed.Fresh()
	r.model.condition(time.Time{})
}

func (r *reducing) Read(t *rapid.T) { r.read(t, rapid.IntRange(0, len(r.readers)-2).Draw(t, "reader")) }

// read reads once and holds the view against the model's newest moment, and its updates against the moments between.
func (r *reducing) read(t *rapid.T, n int) {
	last := r.readers[n].last
	v := r.readers[n].next(t, r.feed)
	seen := r.at[n]
	r.at[n] = len(r.model.moments)
	if v == nil {
		if seen != len(r.model.moments) {
			t.Fatalf("no view, the model has %d more", len(r.model.moments)-seen)
		}
		return
	}
	if seen == len(r.model.moments) {
		t.Fatalf("a view %v that nothing led to", words(v.Updates))
	}
	r.compare(t, v)
	missed := r.model.moments[seen:]
	switch {
	case last == nil && len(v.Updates) != len(v.Instances):
		t.Fatalf("first view of %d instances: %d updates", len(v.Instances), len(v.Updates))
	case last == nil:
	case len(missed) <= r.model.remembered():
		r.checkMerged(t, v, r.model.moments[seen-1], missed)
	default:
		r.checkFar(t, v)
	}
	r.checkSince(t, v, last, missed)
}

func (r *reducing) compare(t *rapid.T, v *View) {
	newest := r.model.newest()
	want := map[string]fact{}
	for id, l := range newest.lines {
		if l.here {
			want[id] = l.now
		}
	}
	if got := facts(v); !maps.Equal(got, want) {
		t.Fatalf("view %s\nmodel %s", factText(got), factText(want))
	}
	if (v.StaleErr != nil) == v.StaleSince.IsZero() {
		t.Fatalf("stale since %v for %v", v.StaleSince, v.StaleErr)
	}
	if v.Service != "svc" || v.Revision != newest.revision || !v.StaleSince.Equal(newest.stale) {
		t.Fatalf("view at %d, stale since %v; model at %d, stale since %v", v.Revision, v.StaleSince, newest.revision, newest.stale)
	}
}

// checkMerged holds the updates of a reader that the ring can serve against all that happened meanwhile.
func (r *reducing) checkMerged(t *rapid.T, v *View, from moment, missed []moment) {
	to := missed[len(missed)-1]
	if got, want := opsOf(v.Updates), between(from, to); !maps.Equal(got, want) {
		t.Fatalf("updates %v, model %v", got, want)
	}
	for _, u := range v.Updates {
		l := to.lines[u.Instance.ID]
		if u.Op == Delete && !l.unsure && (u.Expired != l.expired || factOf(u.Instance) != l.now) {
			t.Fatalf("%+v of %+v, model %+v", u, u.Instance, l)
		}
	}
}

// checkFar is for a reader that is too far behind: it gets the difference of two views, which knows no goodbyes.
func (r *reducing) checkFar(t *rapid.T, v *View) {
	for _, u := range v.Updates {
		if u.Expired {
			t.Fatalf("%v is told as expired, of which nobody can know", u.Instance.ID)
		}
	}
}

// checkSince holds what two views tell of their difference against what the updates tell.
func (r *reducing) checkSince(t *rapid.T, v, last *View, missed []moment) {
	reset := slices.ContainsFunc(missed, func(m moment) bool { return m.reset })
	if v.Reset != (reset && last != nil) {
		t.Fatalf("reset told: %v, happened: %v", v.Reset, reset)
	}
	// After a reset every write is news, even one that looks the same: two views cannot know that.
	if got, want := opsOf(v.Since(last)), opsOf(v.Updates); !reset && !maps.Equal(got, want) {
		t.Fatalf("since the view before: %v, updates %v", got, want)
	}
}

func (r *reducing) check(t *rapid.T) {
	held := 0
	for _, d := range r.feed.ring {
		held += len(d.updates)
	}
	if n := len(r.feed.ring); n > ringViews || cap(r.feed.ring) > 4*ringViews || held != r.feed.held || held > ringUpdates && n > 1 {
		t.Fatalf("the ring holds %d updates (%d by its count) of %d views", held, r.feed.held, n)
	}
	if got := r.feed.garbage.count("svc"); got != r.model.skipped {
		t.Fatalf("%d values skipped, model %d", got, r.model.skipped)
	}
}

// The feed against a model that keeps everything and works everything out anew. Readers read when they please; the last
// of them never does before the end.
func TestAnyBatchesReadAtAnyTimeAreViewsOfTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newReducing()
		r.floods = rapid.Uint8().Draw(t, "one in eight floods")%8 == 5
		t.Repeat(map[string]func(*rapid.T){
			"": r.check, "write": r.Write, "write again": r.Write, "and again": r.Write, "burst": r.Burst, "flood": r.Flood, "foreign": r.Foreign, "relist": r.Relist,
			"reset": r.Reset, "stale": r.Stale, "fresh": r.Fresh, "read": r.Read, "read again": r.Read,
		})
		for n := range r.readers {
			r.read(t, n)
			for _, k := range r.readers[n].kept {
				k.intact(t)
			}
		}
	})
}
