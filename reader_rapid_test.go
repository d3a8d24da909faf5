package rollcall

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"pgregory.net/rapid"
)

// reader reads a feed as a watcher does, and holds what it reads against what it read before.
type reader struct {
	seq  uint64
	last *View
	kept []keepsake
}

// keepsake is a view as it was handed out, and a copy that shares nothing with it.
type keepsake struct {
	view *View
	copy View
}

// keptViews is how many views a reader keeps to see whether they ever change.
const keptViews = 3

// next returns the newest view; nil when there is none since the last.
func (r *reader) next(t *rapid.T, f *feed) *View {
	v, seq, wait := f.newer(r.seq, r.last)
	if v == nil {
		if wait == nil {
			t.Fatal("neither a view nor a channel to wait for")
		}
		return nil
	}
	r.check(t, v)
	last := *v
	last.Updates = nil
	r.seq, r.last = seq, &last
	r.kept = append(r.kept, keepsake{v, deepCopy(v)})
	if len(r.kept) > keptViews {
		r.kept[0].intact(t)
		r.kept = r.kept[1:]
	}
	return v
}

// check holds a view against the one before it: sorted and complete, and reached from there by its updates.
func (r *reader) check(t *rapid.T, v *View) {
	if !ascending(v.Instances) {
		t.Fatalf("instances are not sorted by id, each once: %v", idsOf(v.Instances))
	}
	before := map[string]*Instance{}
	if r.last != nil {
		before = byID(r.last.Instances)
	}
	after, named := maps.Clone(before), map[string]bool{}
	previous := ""
	for _, u := range v.Updates {
		id := u.Instance.ID
		if named[id] || id < previous {
			t.Fatalf("updates are not sorted by id, one for each: %v", words(v.Updates))
		}
		named[id], previous = true, id
		old := before[id]
		if (u.Op == Add) != (old == nil) || u.Prev != old || u.Expired && u.Op != Delete {
			t.Fatalf("update %+v, where the view before had %+v", u, old)
		}
		after[id] = u.Instance
		if u.Op == Delete {
			delete(after, id)
		}
	}
	got := byID(v.Instances)
	if !slices.Equal(slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(got))) {
		t.Fatalf("the updates %v lead to %v, the view has %v", words(v.Updates), idsOf(slices.Collect(maps.Values(after))), idsOf(v.Instances))
	}
	for id, i := range got {
		// Only in a view that was too far behind for the ring may an instance be another copy of the same write.
		if after[id] != i && (named[id] || factOf(after[id]) != factOf(i)) {
			t.Fatalf("%s is %+v in the view, %+v by the updates", id, i, after[id])
		}
		if found, ok := v.Get(id); !ok || found != i {
			t.Fatalf("Get(%q): %v, %v", id, found, ok)
		}
	}
}

// intact reports a view that is not what it was when it was handed out.
func (k keepsake) intact(t *rapid.T) {
	if !reflect.DeepEqual(*k.view, k.copy) {
		t.Fatalf("a view that was handed out has changed from %+v to %+v", k.copy, *k.view)
	}
}

func deepCopy(v *View) View {
	c := *v
	c.Instances, c.Updates = slices.Clone(v.Instances), slices.Clone(v.Updates)
	for n, i := range v.Instances {
		c.Instances[n] = i.Clone()
	}
	for n, u := range v.Updates {
		u.Instance = u.Instance.Clone()
		if u.Prev != nil {
			u.Prev = u.Prev.Clone()
		}
		c.Updates[n] = u
	}
	return c
}

func ascending(instances []*Instance) bool {
	for n := 1; n < len(instances); n++ {
		if instances[n-1].ID >= instances[n].ID {
			return false
		}
	}
	return true
}

func byID(instances []*Instance) map[string]*Instance {
	m := map[string]*Instance{}
	for _, i := range instances {
		m[i.ID] = i
	}
	return m
}

func idsOf(instances []*Instance) (ids []string) {
	for _, i := range instances {
		ids = append(ids, i.ID)
	}
	return ids
}

// opsOf writes updates as the model does.
func opsOf(updates []Update) map[string]Op {
	ops := map[string]Op{}
	for _, u := range updates {
		ops[u.Instance.ID] = u.Op
	}
	return ops
}

// facts writes a view as the model does.
func facts(v *View) map[string]fact {
	found := map[string]fact{}
	for _, i := range v.Instances {
		found[i.ID] = factOf(i)
	}
	return found
}

func factText(m map[string]fact) string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%+v", m[id]))
	}
	return fmt.Sprint(out)
}
