package rollcall

import (
	"cmp"
	"maps"
	"slices"
)

// merge makes one update of two on the same instance, the older first; false when nothing is left of them.
func merge(old, u Update) (Update, bool) {
	switch {
	case old.Op == Add && u.Op == Delete:
		return Update{}, false
	case old.Op == Add:
		return Update{Op: Add, Instance: u.Instance}, true
	case old.Op == Delete: // and now Add: it came back, as itself or as another incarnation; Prev tells
		return Update{Op: Modify, Instance: u.Instance, Prev: old.Prev}, true
	}
	u.Prev = old.Prev
	return u, true
}

// mergeDeltas makes one list of updates of several, the oldest first.
func mergeDeltas(deltas []delta) (updates []Update, reset bool) {
	if len(deltas) == 1 {
		return deltas[0].updates, deltas[0].reset
	}
	merged := map[string]Update{}
	for _, d := range deltas {
		reset = reset || d.reset
		for _, u := range d.updates {
			id := u.Instance.ID
			old, was := merged[id]
			ok := true
			if was {
				u, ok = merge(old, u)
			}
			if ok {
				merged[id] = u
			} else {
				delete(merged, id)
			}
		}
	}
	return sortUpdates(merged), reset
}

func sortUpdates(merged map[string]Update) []Update {
	return slices.SortedFunc(maps.Values(merged), compareUpdates)
}

func compareUpdates(a, b Update) int { return cmp.Compare(a.Instance.ID, b.Instance.ID) }

// applyUpdates returns a new slice of instances, sorted by id: before with the updates, which are sorted too. What did
// not change is copied as a pointer.
func applyUpdates(before []*Instance, updates []Update) []*Instance {
	after := make([]*Instance, 0, len(before)+len(updates))
	for _, u := range updates {
		n, found := slices.BinarySearchFunc(before, u.Instance.ID, compareID)
		after = append(after, before[:n]...)
		before = before[n:]
		if found {
			before = before[1:]
		}
		if u.Op != Delete {
			after = append(after, u.Instance)
		}
	}
	return append(after, before...)
}
