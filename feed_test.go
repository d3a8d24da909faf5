package rollcall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall/internal/follow"
)

const testDir = "rollcall/services/svc/"

func put(id string, rev int64, fields string) follow.Change {
	return follow.Change{Key: testDir + id, Value: fmt.Appendf(nil, `{"Addr":"h:1"%s}`, fields), Revision: rev, CreateRevision: rev}
}

func gone(id string, rev int64) follow.Change {
	return follow.Change{Key: testDir + id, Deleted: true, Revision: rev}
}

func words(updates []Update) []string {
	var out []string
	for _, u := range updates {
		word := u.Op.String() + " " + u.Instance.ID
		if u.Expired {
			word += " expired"
		}
		out = append(out, word)
	}
	return out
}

// follower applies batches to a feed and reads it as a watcher would.
type follower struct {
	t    testing.TB
	f    *feed
	seq  uint64
	last *View
}

func newFollower(t testing.TB) *follower {
	return &follower{t: t, f: newFeed("svc", testDir, newSettings([]Option{WithSuspicion(0)}))}
}

func (r *follower) apply(rev int64, changes ...follow.Change) {
	r.f.Apply(follow.Batch{Header: follow.Header{Revision: rev}, Changes: changes})
}

func (r *follower) next() *View {
	r.t.Helper()
	v, seq, _ := r.f.newer(r.seq, r.last)
	if v == nil {
		r.t.Fatal("no newer view")
	}
	r.seq, r.last = seq, v
	return v
}

func TestAGoodbyeIsToldFromAnExpiry(t *testing.T) {
	r := newFollower(t)
	r.apply(1, put("a", 1, ""), put("b", 1, ""))
	r.next()
	r.apply(2, put("a", 2, `,"State":"leaving"`))
	if got := words(r.next().Updates); !cmp.Equal(got, []string{"delete a"}) {
		t.Errorf("goodbye: %v", got)
	}
	r.apply(4, gone("a", 3), gone("b", 4))
	if got := words(r.next().Updates); !cmp.Equal(got, []string{"delete b expired"}) {
		t.Errorf("the delete after the goodbye, and an expiry: %v", got)
	}
}

func TestABatchThatChangesNothingIsNoView(t *testing.T) {
	r := newFollower(t)
	r.apply(1)
	r.next()
	r.apply(2, gone("never-was", 2), put("a/b", 2, ""), follow.Change{Key: testDir + "bad", Value: []byte("x"), Revision: 2})
	if v, _, _ := r.f.newer(r.seq, r.last); v != nil {
		t.Errorf("a view without change: %+v", v)
	}
}

func TestWhatASlowReaderSkippedIsMerged(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []follow.Change
		want    []string
	}{
		{"add and change", []follow.Change{put("n", 2, ""), put("n", 3, "")}, []string{"add n"}},
		{"add and expire", []follow.Change{put("n", 2, ""), gone("n", 3)}, nil},
		{"change and change", []follow.Change{put("a", 2, ""), put("a", 3, "")}, []string{"modify a"}},
		{"change and expire", []follow.Change{put("a", 2, ""), gone("a", 3)}, []string{"delete a expired"}},
		{"leave and delete", []follow.Change{put("a", 2, `,"State":"leaving"`), gone("a", 3)}, []string{"delete a"}},
		{"expire and come back", []follow.Change{gone("a", 2), put("a", 3, `,"Incarnation":"x"`)}, []string{"modify a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			apart, together := newFollower(t), newFollower(t)
			for _, r := range []*follower{apart, together} {
				r.apply(1, put("a", 1, ""))
				r.next()
			}
			for _, c := range tt.changes {
				apart.apply(c.Revision, c)
			}
			together.apply(3, tt.changes...)
			if got := words(apart.next().Updates); !cmp.Equal(got, tt.want) {
				t.Errorf("in views of their own: %v, want %v", got, tt.want)
			}
			v, _, _ := together.f.newer(together.seq, together.last)
			if v == nil {
				v = &View{}
			}
			if got := words(v.Updates); !cmp.Equal(got, tt.want) {
				t.Errorf("in one batch: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAMassExpiryLargerThanTheRingIsTold(t *testing.T) {
	r := newFollower(t)
	var puts, gones []follow.Change
	for i := range ringUpdates + 1 {
		puts = append(puts, put(fmt.Sprint(i), 1, ""))
		gones = append(gones, gone(fmt.Sprint(i), 2))
	}
	r.apply(1, puts...)
	r.next()
	r.apply(2, gones...)
	if got := r.next().Updates; len(got) != len(gones) || !got[0].Expired {
		t.Errorf("%d updates, want %d that expired: %+v", len(got), len(gones), got[0])
	}
}

func TestStalenessIsAViewOfItsOwn(t *testing.T) {
	r := newFollower(t)
	r.f.Stale(time.Now(), errors.New("no etcd yet"))
	if v, _, _ := r.f.newer(0, nil); v != nil {
		t.Errorf("a view before the first answer: %+v", v)
	}
	r.apply(1, put("a", 1, ""))
	r.next()
	since, cause := time.Now(), errors.New("gone")
	r.f.Stale(since, cause)
	if v := r.next(); !v.StaleSince.Equal(since) || v.StaleErr != cause || len(v.Updates) != 0 || len(v.Instances) != 1 || v.Revision != 1 {
		t.Errorf("stale view: %+v", v)
	}
	r.f.Stale(since, errors.New("still gone"))
	if v, _, _ := r.f.newer(r.seq, r.last); v != nil {
		t.Error("the same staleness told twice")
	}
	r.f.Fresh()
	if v := r.next(); !v.StaleSince.IsZero() || v.StaleErr != nil {
		t.Errorf("fresh view: %+v", v)
	}
}

// Random changes, read at random moments, against the plainest model: a map.
func TestViewsAndUpdatesAgreeWithANaiveModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		r := newFollower(t)
		model, seen := map[string]int64{}, map[string]int64{}
		rev := int64(0)
		r.apply(rev)
		r.next()
		for range 150 {
			var changes []follow.Change
			for range rnd.IntN(4) + 1 {
				rev++
				id := fmt.Sprint("i", rnd.IntN(12))
				switch rnd.IntN(4) {
				case 0:
					changes = append(changes, gone(id, rev))
					delete(model, id)
				case 1:
					changes = append(changes, put(id, rev, `,"State":"leaving"`))
					delete(model, id)
				default:
					changes = append(changes, put(id, rev, ""))
					model[id] = rev
				}
			}
			r.apply(rev, changes...)
			if rnd.IntN(100) < 70 { // sometimes more than the ring holds go unread
				continue
			}
			v, seq, _ := r.f.newer(r.seq, r.last)
			if v == nil {
				continue
			}
			r.seq, r.last = seq, v
			checkView(t, seed, v, model)
			replay(t, seed, v, seen)
			if !maps.Equal(seen, model) {
				t.Fatalf("seed %d: the updates lead to %v, not %v", seed, seen, model)
			}
		}
	}
}

func checkView(t *testing.T, seed uint64, v *View, model map[string]int64) {
	t.Helper()
	if !slices.IsSortedFunc(v.Instances, func(a, b *Instance) int { return compareID(a, b.ID) }) {
		t.Fatalf("seed %d: not sorted", seed)
	}
	got := map[string]int64{}
	for _, i := range v.Instances {
		got[i.ID] = i.Revision
	}
	if !maps.Equal(got, model) {
		t.Fatalf("seed %d: view %v, want %v", seed, got, model)
	}
}

// replay applies a view's updates to what the reader had.
func replay(t *testing.T, seed uint64, v *View, seen map[string]int64) {
	t.Helper()
	for _, u := range v.Updates {
		_, had := seen[u.Instance.ID]
		switch {
		case u.Op == Add == had:
			t.Fatalf("seed %d: %v of %s, which it had: %v", seed, u.Op, u.Instance.ID, had)
		case u.Op == Delete:
			delete(seen, u.Instance.ID)
		default:
			seen[u.Instance.ID] = u.Instance.Revision
		}
	}
}

func TestReadyIsWhatServesOrElseAll(t *testing.T) {
	ids := func(v *View) (ids []string) {
		for i := range v.Ready() {
			ids = append(ids, i.ID)
		}
		return ids
	}
	v := &View{Instances: []*Instance{{ID: "a", State: StateDraining}, {ID: "b", State: StateServing}, {ID: "c", State: StateServing}}}
	if got := ids(v); !cmp.Equal(got, []string{"b", "c"}) {
		t.Errorf("ready: %v", got)
	}
	v = &View{Instances: v.Instances[:1]}
	if got := ids(v); !cmp.Equal(got, []string{"a"}) {
		t.Errorf("when none serves: %v", got)
	}
}

func TestAClosedWatcherAndAnEndedContextEndViews(t *testing.T) {
	reg := deaf(t)
	w := reg.Watch("svc")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for v, err := range w.Views(ctx) {
		t.Errorf("a pair after the context ended: %v, %v", v, err)
	}
	w.Close()
	w.Close()
	var errs []error
	for _, err := range w.Views(t.Context()) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], ErrClosed) {
		t.Errorf("after Close: %v", errs)
	}
}
