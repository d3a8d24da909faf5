package endpoints

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
)

func TestWhatDidNotChangeStaysTheSamePointer(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, b := instance("a", "h:1", 1), instance("b", "h:2", 2)
	before, _ := w.become(a, b)
	list := slices.Clone(before.Endpoints())

	again := []*rollcall.Instance{instance("a", "h:1", 7), instance("b", "h:2", 8)} // the same two under a new lease
	if v, changed := w.become(again...); changed || v != before {
		t.Error("instances put again as they were count as a change")
	}

	heavier := with(again[1], func(i *rollcall.Instance) { i.Weight = 50 })
	v, changed := w.become(again[0], heavier)
	if !changed {
		t.Fatal("a new weight does not count as a change")
	}
	if v.Instances[0] != a || v.Endpoints()[0].Attributes != list[0].Attributes {
		t.Error("the unchanged instance is not the one that was known")
	}
	if got, _ := InstanceOf(v.Endpoints()[1]); got != heavier || v.Instances[1] != heavier {
		t.Errorf("endpoint b carries %+v, want %+v", got, heavier)
	}
	if &v.Endpoints()[1].Addresses[0] != &list[1].Addresses[0] {
		t.Error("the address of an instance that did not move was made anew")
	}
	if old, _ := InstanceOf(before.Endpoints()[1]); old != b {
		t.Error("the list that gRPC was given was changed in place")
	}
}

// A policy that knows nothing of states is to be told nothing of those that it must not call.
func TestChangeAmongThoseThatDrainLeavesTheEndpointsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, b := instance("a", "h:1", 1), with(instance("b", "h:2", 2), drained)
	before, _ := w.become(a, b)
	after, changed := w.become(a, with(b, func(i *rollcall.Instance) { i.Weight = 50 }))
	if !changed || after.Instances[1].Weight != 50 {
		t.Errorf("changed %v to %v, want to weight 50", changed, after.Instances[1])
	}
	if &after.Endpoints()[0] != &before.Endpoints()[0] {
		t.Error("the endpoints were made anew though none changed")
	}
}

func TestEndpointsAreAllAgainAsSoonAsNoneServes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, b := instance("a", "h:1", 1), with(instance("b", "h:2", 2), drained)
	for n, step := range []struct {
		is   []*rollcall.Instance
		want []string
	}{
		{[]*rollcall.Instance{a, b}, []string{"a"}},
		{[]*rollcall.Instance{with(a, drained), b}, []string{"a", "b"}},
		{[]*rollcall.Instance{b}, []string{"b"}},
		{[]*rollcall.Instance{b, instance("c", "h:3", 3)}, []string{"c"}},
		{nil, []string{}},
		{[]*rollcall.Instance{b}, []string{"b"}},
	} {
		v, _ := w.become(step.is...)
		if diff := cmp.Diff(step.want, ids(v.Endpoints())); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", n, diff)
		}
	}
}

func TestNextOfAnAddressTakesThePlaceOfTheNewestThatLeft(t *testing.T) {
	t.Parallel()
	w := newWorld()
	old, mid, young := instance("x", "h:1", 1), instance("z", "h:1", 2), instance("y", "h:1", 3)
	for n, step := range []struct {
		is   []*rollcall.Instance
		want string
	}{
		{[]*rollcall.Instance{old, young, mid}, "y"},
		{[]*rollcall.Instance{old, mid}, "z"},
		{[]*rollcall.Instance{instance("x", "h:1", 9), mid}, "x"}, // registered again, unchanged to channels, but the newest now
		{[]*rollcall.Instance{mid}, "z"},
	} {
		v, changed := w.become(step.is...)
		if len(v.Instances) != 1 || v.Instances[0].ID != step.want || !changed {
			t.Errorf("step %d: changed %v to %v, want %s", n, changed, v.Instances, step.want)
		}
	}
}

func TestInstancesThatAreNotSelectedAreNotThere(t *testing.T) {
	t.Parallel()
	r := NewReducer("jie-test", "eu-1a", func(i *rollcall.Instance) bool { return i.Version == "v2" })
	r.Target = "jie-test?version=v2"
	w := &world{Reducer: r, now: &rollcall.View{}}
	v2 := func(i *rollcall.Instance) { i.Version = "v2" }
	a, b := instance("a", "h:1", 1), with(instance("b", "h:2", 2), v2)
	shadow := instance("c", "h:2", 9) // the newest at b's address, but of no concern

	v, _ := w.become(a, b, shadow)
	if len(v.Instances) != 1 || v.Instances[0] != b || !slices.Equal(ids(v.Endpoints()), []string{"b"}) {
		t.Errorf("selected %v, want b", v.Instances)
	}
	if v.Service != "jie-test" || v.Target != "jie-test?version=v2" || v.Zone != "eu-1a" {
		t.Errorf("the view names %q, %q, %q", v.Service, v.Target, v.Zone)
	}
	a = with(a, func(i *rollcall.Instance) { i.Weight = 1 })
	if _, changed := w.become(a, b, shadow); changed {
		t.Error("a change of an instance that is not selected counts")
	}
	if v, changed := w.become(with(a, v2), instance("b", "h:2", 2), shadow); !changed || len(v.Instances) != 1 || v.Instances[0].ID != "a" {
		t.Errorf("after the version moved from b to a: %v, want a", v.Instances)
	}
	if v, changed := w.become(); !changed || len(v.Instances) != 0 {
		t.Errorf("after all left: %v", v.Instances)
	}
}

func TestFirstViewIsOneEvenWithoutInstances(t *testing.T) {
	t.Parallel()
	w := newWorld()
	if v, changed := w.become(); v == nil || !changed {
		t.Errorf("the first Apply = %v, %v; want a view", v, changed)
	}
	if _, changed := w.become(); changed {
		t.Error("the second changes nothing, but says so")
	}
}

func TestViewKeepsNoOtherAlive(t *testing.T) {
	w := newWorld()
	first, _ := w.become(instance("a", "h:1", 1))
	gone := weak.Make(first)
	first = nil
	last, _ := w.become(instance("a", "h:1", 1), instance("b", "h:2", 2))
	reducer := weak.Make(w.Reducer)
	w = nil
	runtime.GC()
	if gone.Value() != nil {
		t.Error("the view before lives on")
	}
	if reducer.Value() != nil {
		t.Error("the reducer lives on in its view")
	}
	runtime.KeepAlive(last)
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		for _, churn := range []int{1, n / 10} {
			b.Run(fmt.Sprintf("%d_of_%d", churn, n), func(b *testing.B) { benchmarkApply(b, n, churn) })
		}
	}
}

func benchmarkApply(b *testing.B, n, churn int) {
	before := make([]*rollcall.Instance, n)
	for k := range before {
		before[k] = instance(fmt.Sprintf("10.0.%d.%d:50051", k/256, k%256), fmt.Sprintf("10.0.%d.%d:50051", k/256, k%256), int64(k))
	}
	slices.SortFunc(before, func(a, b *rollcall.Instance) int { return compareID(a, b.ID) })
	after := slices.Clone(before)
	for k := range churn {
		at := k * (n / churn)
		after[at] = with(after[at], func(i *rollcall.Instance) { i.Weight = 50 })
	}
	w := newWorld()
	if _, changed := w.become(before...); !changed {
		b.Fatal("no view")
	}
	there, back := &rollcall.View{Instances: after}, &rollcall.View{Instances: before}
	forth, home := there.Since(back), back.Since(there)
	if len(forth) != churn || len(home) != churn {
		b.Fatalf("%d changes forth and %d back, want %d", len(forth), len(home), churn)
	}
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		updates := forth
		if k%2 == 1 {
			updates = home
		}
		if _, changed := w.Apply(updates); !changed {
			b.Fatal("nothing changed")
		}
	}
}
