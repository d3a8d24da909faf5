package endpoints

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"pgregory.net/rapid"
)

// service is a service in etcd to which anything may happen.
type service struct {
	revision  int64
	instances map[string]*rollcall.Instance
}

// happen draws one thing that happens to one instance.
func (s *service) happen(t *rapid.T) {
	id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "id")
	s.revision++
	now, there := s.instances[id]
	if !there {
		now = instance(id, rapid.SampledFrom([]string{"h:1", "h:2", "h:3"}).Draw(t, "addr"), s.revision)
		now.Version = rapid.SampledFrom([]string{"v1", "v2"}).Draw(t, "version")
		now.Incarnation = fmt.Sprint(s.revision)
	}
	now = now.Clone()
	now.Revision = s.revision
	if there {
		switch rapid.SampledFrom([]string{"leaves", "drains", "serves", "weighs", "moves", "again", "new lease"}).Draw(t, "event") {
		case "leaves":
			delete(s.instances, id)
			return
		case "drains":
			now.State = rollcall.StateDraining
		case "serves":
			now.State = rollcall.StateServing
		case "weighs":
			now.Weight = rapid.IntRange(1, 2).Draw(t, "weight")
		case "moves":
			now.Addr = rapid.SampledFrom([]string{"h:1", "h:2", "h:3"}).Draw(t, "addr")
		case "new lease":
			now.CreateRevision = s.revision
		}
	}
	s.instances[id] = now
}

// view is the service as the registry shows it.
func (s *service) view() *rollcall.View {
	v := &rollcall.View{Revision: s.revision}
	for _, id := range slices.Sorted(maps.Keys(s.instances)) {
		v.Instances = append(v.Instances, s.instances[id])
	}
	return v
}

// expected is what a channel is to see of a view, found out by looking at all of it.
func expected(v *rollcall.View, keep func(*rollcall.Instance) bool) (instances, callable []*rollcall.Instance) {
	for _, i := range v.Instances {
		beaten := slices.ContainsFunc(v.Instances, func(o *rollcall.Instance) bool {
			return o.Addr == i.Addr && keep(o) &&
				(o.CreateRevision > i.CreateRevision || o.CreateRevision == i.CreateRevision && o.Revision > i.Revision)
		})
		if keep(i) && !beaten {
			instances = append(instances, i)
		}
	}
	for _, i := range instances {
		if i.Serving() {
			callable = append(callable, i)
		}
	}
	if len(callable) == 0 {
		callable = instances
	}
	return instances, callable
}

func TestViewIsTheSameHoweverItWasComeTo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keep := func(*rollcall.Instance) bool { return true }
		if rapid.Bool().Draw(t, "selects") {
			keep = func(i *rollcall.Instance) bool { return i.Version == "v2" }
		}
		s := &service{instances: map[string]*rollcall.Instance{}}
		r := NewReducer("svc", "", keep)
		before := s.view()
		var views []*View
		for range rapid.IntRange(1, 12).Draw(t, "views") {
			for range rapid.IntRange(0, 2).Draw(t, "gathered") {
				s.happen(t)
				now := s.view()
				r.Take(now.Since(before))
				before = now
			}
			for range rapid.IntRange(0, 5).Draw(t, "events") {
				s.happen(t)
			}
			now := s.view()
			r.Linked = rapid.Bool().Draw(t, "not listed")
			v, changed := r.Apply(now.Since(before))
			before = now
			verify(t, v, now, keep)
			verifyClaims(t, r, now)
			if len(views) > 0 {
				if prev := views[len(views)-1]; changed == (v == prev) {
					t.Fatalf("changed is %v for the view %p after %p", changed, v, prev)
				}
				if !r.Linked {
					verifyUnchanged(t, views[len(views)-1], v)
				}
				verifySince(t, rapid.SampledFrom(views).Draw(t, "earlier"), v)
			}
			verifySince(t, &View{}, v)
			views = append(views, v)
		}
	})
}

// verify compares a view with what it is to be.
func verify(t *rapid.T, v *View, of *rollcall.View, keep func(*rollcall.Instance) bool) {
	t.Helper()
	instances, callable := expected(of, keep)
	if !slices.EqualFunc(v.Instances, instances, same) {
		t.Fatalf("instances %s, want %s", names(v.Instances), names(instances))
	}
	if diff := cmp.Diff(namesOf(callable), ids(v.Endpoints())); diff != "" {
		t.Fatalf("endpoints of %s (-want +got):\n%s", names(v.Instances), diff)
	}
	for _, ep := range v.Endpoints() {
		if i, _ := InstanceOf(ep); !slices.Contains(v.Instances, i) {
			t.Fatalf("endpoint %s carries an instance that is not the view's", i.ID)
		}
	}
}

// verifyClaims finds the books of who is at which address to be complete, and nothing else in them.
func verifyClaims(t *rapid.T, r *Reducer, of *rollcall.View) {
	t.Helper()
	kept := 0
	for _, i := range of.Instances {
		if r.keep(i) {
			kept++
		}
	}
	if shown := len(r.view.Instances); len(r.claims.losers) != kept-shown || len(r.claims.byAddr) != shown || len(r.claims.touched) != 0 {
		t.Fatalf("of %d instances %d are shown; in the books are %d others, %d addresses and %d that changed",
			kept, shown, len(r.claims.losers), len(r.claims.byAddr), len(r.claims.touched))
	}
}

// verifyUnchanged finds what did not change to be the same.
func verifyUnchanged(t *rapid.T, prev, v *View) {
	t.Helper()
	for _, i := range v.Instances {
		if n, found := slices.BinarySearchFunc(prev.Instances, i.ID, compareID); found && same(prev.Instances[n], i) && prev.Instances[n] != i {
			t.Fatalf("%s did not change, but is another pointer", i.ID)
		}
	}
	for _, ep := range v.Endpoints() {
		i, _ := InstanceOf(ep)
		n, found := slices.BinarySearchFunc(prev.Endpoints(), i.ID, compareEndpoint)
		if !found {
			continue
		}
		if old, _ := InstanceOf(prev.Endpoints()[n]); old == i && prev.Endpoints()[n].Attributes != ep.Attributes {
			t.Fatalf("the endpoint of %s, which did not change, was made anew", i.ID)
		}
	}
}

// verifySince finds that what changed since an earlier view leads from that to this.
func verifySince(t *rapid.T, prev, v *View) {
	t.Helper()
	updates := v.Since(prev)
	if !slices.IsSortedFunc(updates, func(a, b rollcall.Update) int { return compareID(a.Instance, b.Instance.ID) }) {
		t.Fatalf("updates out of order: %v", updates)
	}
	for _, u := range updates {
		n, there := slices.BinarySearchFunc(prev.Instances, u.Instance.ID, compareID)
		if there != (u.Op != rollcall.Add) || there != (u.Prev != nil) || there && !same(prev.Instances[n], u.Prev) {
			t.Fatalf("%v of %s, which was there: %v", u.Op, u.Instance.ID, there)
		}
		if u.Op == rollcall.Modify && same(u.Prev, u.Instance) {
			t.Fatalf("%s did not change", u.Instance.ID)
		}
	}
	if got := applyUpdates(prev.Instances, updates); !slices.EqualFunc(got, v.Instances, same) {
		t.Fatalf("with what changed since it becomes %s, want %s", names(got), names(v.Instances))
	}
}

func namesOf(instances []*rollcall.Instance) []string {
	list := []string{}
	for _, i := range instances {
		list = append(list, i.ID)
	}
	return list
}

func names(instances []*rollcall.Instance) string {
	var list []string
	for _, i := range instances {
		list = append(list, fmt.Sprintf("%s@%s/%d,%d/%s/%d", i.ID, i.Addr, i.CreateRevision, i.Revision, i.State, i.Weight))
	}
	return strings.Join(list, " ")
}
