package endpoints

import "testing"

// policy takes what it is passed, while it is willing.
type policy struct {
	willing bool
	taken   []*View
}

func (p *policy) Take(_ *Link, v *View) bool {
	if p.willing {
		p.taken = append(p.taken, v)
	}
	return p.willing
}

func TestALinkPassesViewsToWhoJoinedLast(t *testing.T) {
	t.Parallel()
	view, _ := newWorld().become(instance("a", "h:1", 1))
	link, former, present := new(Link), &policy{willing: true}, &policy{willing: true}
	passed := func(want bool, formers, presents int) {
		t.Helper()
		if got := link.Pass(view); got != want || len(former.taken) != formers || len(present.taken) != presents {
			t.Errorf("passed on: %v, %d and %d views were taken, want %v, %d and %d", got, len(former.taken), len(present.taken), want, formers, presents)
		}
	}
	passed(false, 0, 0)
	link.Join(former)
	passed(true, 1, 0)
	link.Join(present)
	passed(true, 1, 1)
	link.Leave(former) // which has been replaced before
	passed(true, 1, 2)
	present.willing = false
	passed(false, 1, 2)
	link.Leave(present)
	present.willing = true
	passed(false, 1, 2)
	if link.Joined() {
		t.Error("somebody has joined a link that all have left")
	}
}

func TestEndpointsAreListedOnlyForWhoAsks(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Linked = true
	a, b := instance("a", "h:1", 1), instance("b", "h:2", 2)
	w.become(a, b)
	v, _ := w.become(a, with(b, drained))
	if v.list != nil {
		t.Error("endpoints are listed, and nobody has asked for them")
	}
	if got := ids(v.Endpoints()); len(got) != 1 || got[0] != "a" {
		t.Errorf("the endpoints are %v, want a", got)
	}
	if _, whole := Of(v.Linked(new(Link))); !whole {
		t.Error("a list that was asked for twice is not the same list")
	}
}
