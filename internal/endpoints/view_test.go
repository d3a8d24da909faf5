package endpoints

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

func TestViewTravelsWithItsOwnEndpointsOnly(t *testing.T) {
	t.Parallel()
	v, _ := newWorld().become(instance("a", "h:1", 1), instance("b", "h:2", 2))
	empty, _ := newWorld().become()
	for name, tc := range map[string]struct {
		state resolver.State
		want  *View
	}{
		"its own":            {v.State(), v},
		"its own, none":      {empty.State(), empty},
		"more attributes":    {resolver.State{Endpoints: v.Endpoints(), Attributes: v.State().Attributes.WithValue("k", 1)}, v},
		"a copy":             {resolver.State{Endpoints: slices.Clone(v.Endpoints()), Attributes: v.State().Attributes}, nil},
		"the beginning":      {resolver.State{Endpoints: v.Endpoints()[:1], Attributes: v.State().Attributes}, nil},
		"the end":            {resolver.State{Endpoints: v.Endpoints()[1:], Attributes: v.State().Attributes}, nil},
		"none left":          {resolver.State{Attributes: v.State().Attributes}, nil},
		"other attributes":   {resolver.State{Endpoints: v.Endpoints(), Attributes: attributes.New("k", 1)}, nil},
		"no attributes":      {resolver.State{Endpoints: v.Endpoints()}, nil},
		"another view's":     {resolver.State{Endpoints: empty.Endpoints(), Attributes: v.State().Attributes}, nil},
		"nothing whatsoever": {resolver.State{}, nil},
	} {
		if got, ok := Of(tc.state); got != tc.want || ok != (tc.want != nil) {
			t.Errorf("%s: Of = %v, %v; want %v", name, got, ok, tc.want)
		}
	}
	if s := v.State(); s.ServiceConfig != nil || s.Addresses != nil {
		t.Errorf("the state says %+v beside endpoints and attributes", s)
	}
}

func TestSinceIsWhatChangedWhicheverViewCameBefore(t *testing.T) {
	t.Parallel()
	a, b, c := instance("a", "h:1", 1), instance("b", "h:2", 2), instance("c", "h:3", 3)
	heavier := with(b, func(i *rollcall.Instance) { i.Weight = 50 })
	w := newWorld()
	v1, _ := w.become(a, b)
	v2, _ := w.become(a, heavier, c)
	v3, _ := w.become(heavier, c)
	other, _ := newWorld().become(with(a, func(i *rollcall.Instance) { i.Revision = 7 }), b)

	add := func(i *rollcall.Instance) rollcall.Update { return rollcall.Update{Op: rollcall.Add, Instance: i} }
	gone := func(i *rollcall.Instance) rollcall.Update {
		return rollcall.Update{Op: rollcall.Delete, Instance: i, Prev: i}
	}
	changed := rollcall.Update{Op: rollcall.Modify, Instance: heavier, Prev: b}
	for name, tc := range map[string]struct {
		from, to *View
		want     []rollcall.Update
	}{
		"nothing":          {nil, v1, []rollcall.Update{add(a), add(b)}},
		"nothing, later":   {nil, v3, []rollcall.Update{add(heavier), add(c)}},
		"itself":           {v2, v2, nil},
		"the one before":   {v1, v2, []rollcall.Update{changed, add(c)}},
		"again":            {v2, v3, []rollcall.Update{gone(a)}},
		"two before":       {v1, v3, []rollcall.Update{gone(a), changed, add(c)}},
		"a later one":      {v3, v2, []rollcall.Update{add(a)}},
		"another reducer":  {other, v2, []rollcall.Update{changed, add(c)}},
		"nobody's":         {&View{}, v1, []rollcall.Update{add(a), add(b)}},
		"nobody's, either": {&View{}, &View{Instances: []*rollcall.Instance{a}}, []rollcall.Update{add(a)}},
	} {
		if diff := cmp.Diff(tc.want, tc.to.Since(tc.from), cmp.AllowUnexported(rollcall.Instance{})); diff != "" {
			t.Errorf("since %s (-want +got):\n%s", name, diff)
		}
	}
	if got := v2.Since(v1); &got[0] != &v2.changes[0] {
		t.Error("what changed since the view before was found out anew")
	}
}
