package naming

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

// view makes a view of the instances, sorted by id, which comes after prev.
func view(prev *rollcall.View, instances ...*rollcall.Instance) *rollcall.View {
	v := &rollcall.View{Instances: instances}
	v.Updates = v.Since(prev)
	return v
}

func instance(id, addr string, revision int64) *rollcall.Instance {
	return &rollcall.Instance{ID: id, Addr: addr, Revision: revision, RawMetadata: json.RawMessage(fmt.Sprint(revision))}
}

func TestUpdatesAreTheChangesOfAddresses(t *testing.T) {
	t.Parallel()
	a1, b2 := instance("a", "a:1", 1), instance("b", "b:1", 2)
	before := view(nil, a1, b2)
	for name, c := range map[string]struct {
		view *rollcall.View
		want []string
	}{
		"first":              {before, []string{"add a:1 1", "add b:1 2"}},
		"empty":              {view(nil), nil},
		"stale":              {view(before, a1, b2), nil},
		"changed":            {view(before, instance("a", "a:1", 3), b2), []string{"add a:1 3"}},
		"gone":               {view(before, b2), []string{"delete a:1 1"}},
		"gone and come":      {view(before, b2, instance("c", "c:1", 3)), []string{"delete a:1 1", "add c:1 3"}},
		"moved":              {view(before, instance("a", "c:1", 3), b2), []string{"delete a:1 1", "add c:1 3"}},
		"swapped":            {view(before, instance("a", "b:1", 3), instance("b", "a:1", 4)), []string{"add b:1 3", "add a:1 4"}},
		"one of two is gone": {view(view(nil, a1, instance("b", "a:1", 2)), instance("b", "a:1", 2)), nil},
		"both are gone":      {view(view(nil, a1, instance("b", "a:1", 2))), []string{"delete a:1 1", "delete a:1 2"}},
		"succeeded by another id": {
			view(view(nil, a1), instance("b", "a:1", 2)), []string{"add a:1 2"},
		},
		"changed and gone since": {
			&rollcall.View{Updates: []rollcall.Update{{Op: rollcall.Delete, Instance: instance("a", "a:1", 3), Prev: a1}}},
			[]string{"delete a:1 3"},
		},
		"moved and gone since": {
			&rollcall.View{Updates: []rollcall.Update{{Op: rollcall.Delete, Instance: instance("a", "c:1", 3), Prev: a1}}},
			[]string{"delete a:1 1"},
		},
	} {
		var got []string
		for _, u := range updatesOf(c.view) {
			got = append(got, fmt.Sprintf("%s %s %v", [...]string{"add", "delete"}[u.Op], u.Addr, u.Metadata))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestUpdatesKeepASetOfAddressesComplete(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	known := map[string]bool{}
	prev := view(nil)
	for revision := range int64(5000) {
		instances := slices.Clone(prev.Instances)
		for range 1 + random.IntN(4) {
			id := string(rune('a' + random.IntN(6)))
			instances = slices.DeleteFunc(instances, func(i *rollcall.Instance) bool { return i.ID == id })
			if random.IntN(3) > 0 {
				instances = append(instances, instance(id, fmt.Sprintf("host:%d", 1+random.IntN(6)), revision+1))
			}
		}
		slices.SortFunc(instances, func(a, b *rollcall.Instance) int { return int(a.ID[0]) - int(b.ID[0]) })
		next := view(prev, instances...)
		for _, u := range updatesOf(next) {
			if u.Op == Add {
				known[u.Addr] = true
			} else {
				delete(known, u.Addr)
			}
		}
		want := map[string]bool{}
		for _, i := range instances {
			want[i.Addr] = true
		}
		if !maps.Equal(known, want) {
			t.Fatalf("seed %d, step %d: the reader has %v, there are %v", seed, revision, known, want)
		}
		prev = next
	}
}

func TestMetadataIsWhatJSONMakesOfIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		instance rollcall.Instance
		want     any
	}{
		{rollcall.Instance{}, nil},
		{rollcall.Instance{Metadata: map[string]string{}}, map[string]any{}},
		{rollcall.Instance{Metadata: map[string]string{"team": "a"}}, map[string]any{"team": "a"}},
		{rollcall.Instance{RawMetadata: json.RawMessage(`null`)}, nil},
		{rollcall.Instance{RawMetadata: json.RawMessage(`"text"`)}, "text"},
		{rollcall.Instance{RawMetadata: json.RawMessage(`{"w":5,"on":[true,null]}`)}, map[string]any{"w": 5.0, "on": []any{true, nil}}},
	} {
		if diff := cmp.Diff(c.want, metadataOf(&c.instance)); diff != "" {
			t.Errorf("metadata of %+v (-want +got):\n%s", c.instance, diff)
		}
	}
}
