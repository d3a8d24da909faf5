package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func instanceOf(id string) *rollcall.Instance {
	return &rollcall.Instance{ID: id, Addr: id + ":1", State: rollcall.StateServing, Weight: 100}
}

func drawn(p *picture, now time.Time, columns, rows int) string {
	return strings.Join(p.draw(now, columns, rows), "\n")
}

func TestWhatChangedStandsOutAndWhatIsGoneLingers(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	p := newPicture([]string{"web"}, paint{}, nil)
	if p.known() {
		t.Error("a picture is drawn of nothing")
	}
	one, two := instanceOf("one"), instanceOf("two")
	one.Registered = began.Add(-90 * time.Second)
	p.take(news{view: &rollcall.View{
		Service: "web", Revision: 7, Instances: []*rollcall.Instance{one, two},
		Updates: []rollcall.Update{{Op: rollcall.Add, Instance: one}, {Op: rollcall.Add, Instance: two}},
	}}, began)
	want := `web: 2 instances, 2 serving  revision 7  12:00:00  q ends

ID   ADDR   STATE    WEIGHT  ZONE  VERSION  UP
one  one:1  serving  100     -     -        1m30s
two  two:1  serving  100     -     -        -`
	if diff := cmp.Diff(want, drawn(p, began, 80, 24)); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}

	drained := instanceOf("one")
	drained.Registered, drained.Override = one.Registered, &rollcall.Override{Drain: true}
	changed := began.Add(time.Minute)
	p.take(news{view: &rollcall.View{
		Service: "web", Revision: 9, Instances: []*rollcall.Instance{drained},
		Updates: []rollcall.Update{{Op: rollcall.Modify, Instance: drained}, {Op: rollcall.Delete, Instance: two, Expired: true}},
	}}, changed)
	for _, c := range []struct {
		after     time.Duration
		has, lack []string
	}{
		{0, []string{"draining (operator)", "changed", "two:1", "expired", "1 instance, 1 draining"}, nil},
		{4 * time.Second, []string{"two:1", "expired"}, []string{"changed"}},
		{6 * time.Second, []string{"one:1"}, []string{"two:1", "changed"}},
	} {
		got := drawn(p, changed.Add(c.after), 100, 24)
		for _, text := range c.has {
			if !strings.Contains(got, text) {
				t.Errorf("after %v there is no %q in\n%s", c.after, text, got)
			}
		}
		for _, text := range c.lack {
			if strings.Contains(got, text) {
				t.Errorf("after %v there is still %q in\n%s", c.after, text, got)
			}
		}
	}
}

func TestAPictureThatIsOldSaysHowOld(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	p := newPicture([]string{"web"}, paint{}, nil)
	one := instanceOf("one")
	p.take(news{view: &rollcall.View{
		Service: "web", Instances: []*rollcall.Instance{one}, Updates: []rollcall.Update{{Op: rollcall.Add, Instance: one}}, StaleSince: now.Add(-time.Minute),
	}}, now)
	got := drawn(p, now, 100, 24)
	for _, want := range []string{"no answer from etcd for 1m, since 11:59:00: this is the last that is known", "one:1"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}

func TestAPictureFitsTheWindow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := newPicture(nil, paint{true}, nil)
	all := &allServices{complete: true}
	for _, name := range strings.Split("abcdefghij", "") {
		all.changed = append(all.changed, &rollcallv1.ServiceSummary{Service: strings.Repeat(name, 30), Instances: 2, Unhealthy: 1, Draining: 1})
	}
	p.take(news{services: all}, now)
	p.take(news{services: &allServices{changed: []*rollcallv1.ServiceSummary{{Service: strings.Repeat("a", 30), Instances: 1, Serving: 1}}}}, now)
	for _, window := range [][2]int{{100, 30}, {40, 8}, {10, 3}, {1, 1}} {
		lines := p.draw(now, window[0], window[1])
		if len(lines) > window[1] {
			t.Errorf("%d lines in a window of %d", len(lines), window[1])
		}
		for _, line := range lines {
			if got := displayWidth(line); got > window[0] {
				t.Errorf("%d columns in a window of %d: %q", got, window[0], line)
			}
		}
	}
	if got := drawn(p, now, 40, 8); !strings.Contains(got, "… and 7 more") {
		t.Errorf("what does not fit is not counted:\n%s", got)
	}
}
