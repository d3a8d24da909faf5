package rollcall

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// history draws what happened to one instance, one update after another, as a feed that saw each of them would tell.
func history(t *rapid.T) (before *Instance, updates []Update) {
	var now *Instance
	if rapid.Bool().Draw(t, "present") {
		now = &Instance{ID: "a"}
	}
	before = now
	for range rapid.IntRange(1, 9).Draw(t, "updates") {
		next := &Instance{ID: "a"}
		switch {
		case now == nil:
			updates = append(updates, Update{Op: Add, Instance: next})
		case rapid.Bool().Draw(t, "stays"):
			updates = append(updates, Update{Op: Modify, Instance: next, Prev: now})
		default:
			updates = append(updates, Update{Op: Delete, Instance: now, Prev: now, Expired: rapid.Bool().Draw(t, "expired")})
			next = nil
		}
		now = next
	}
	return before, updates
}

// fold merges updates in order; none is left when they cancel out.
func fold(updates []Update) []Update {
	deltas := make([]delta, len(updates))
	for n, u := range updates {
		deltas[n].updates = []Update{u}
	}
	deltas = append(deltas, delta{}) // never a single one, which is handed on as it is
	merged, _ := mergeDeltas(deltas)
	return merged
}

// However a history is cut into batches, merging what each of them tells is merging it all.
func TestMergingIsTheSameHoweverItIsCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before, updates := history(t)
		whole := fold(updates)
		var parts []Update
		for rest := updates; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			parts = append(parts, fold(rest[:n])...)
			rest = rest[n:]
		}
		cut := fold(parts)
		if len(whole) != len(cut) || len(whole) > 1 {
			t.Fatalf("%v as a whole, %v in parts", words(whole), words(cut))
		}
		for n, u := range whole {
			o := cut[n]
			// A part in which it came and went tells nothing, and so not by which way it went.
			if u.Op != o.Op || u.Prev != o.Prev || u.Op != Delete && u.Instance != o.Instance {
				t.Fatalf("%+v as a whole, %+v in parts", u, o)
			}
		}
		told(t, before, updates[len(updates)-1], whole)
	})
}

// told holds what is left of a history against its ends.
func told(t *rapid.T, before *Instance, last Update, merged []Update) {
	if before == nil && last.Op == Delete {
		if len(merged) != 0 {
			t.Fatalf("it came and went: %v", words(merged))
		}
		return
	}
	if len(merged) != 1 {
		t.Fatalf("%d updates of one instance", len(merged))
	}
	u := merged[0]
	if u.Prev != before || u.Instance != last.Instance || u.Expired != last.Expired {
		t.Fatalf("%+v, where before was %p and the last update %+v", u, before, last)
	}
	if want := opOf(before, last); u.Op != want {
		t.Fatalf("%v, want %v", u.Op, want)
	}
}

func opOf(before *Instance, last Update) Op {
	switch {
	case last.Op == Delete:
		return Delete
	case before == nil:
		return Add
	}
	return Modify
}

// Merging the updates of many instances is merging those of each, sorted.
func TestInstancesDoNotMeetInAMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var deltas []delta
		want := map[string][]Update{}
		for _, id := range rapid.SliceOfNDistinct(someID, 0, 5, rapid.ID).Draw(t, "ids") {
			_, updates := history(t)
			for n := range updates {
				u := updates[n]
				u.Instance = u.Instance.Clone()
				u.Instance.ID = id
				updates[n] = u
				if n == len(deltas) {
					deltas = append(deltas, delta{})
				}
				deltas[n].updates = append(deltas[n].updates, u)
			}
			if merged := fold(updates); len(merged) > 0 {
				want[id] = merged
			}
		}
		merged, _ := mergeDeltas(append(deltas, delta{}))
		if !slices.IsSortedFunc(merged, func(a, b Update) int { return compareID(a.Instance, b.Instance.ID) }) || len(merged) != len(want) {
			t.Fatalf("%v, want those of %v", words(merged), want)
		}
		for _, u := range merged {
			if w := want[u.Instance.ID]; len(w) != 1 || w[0] != u {
				t.Fatalf("%+v, want %+v", u, w)
			}
		}
	})
}
