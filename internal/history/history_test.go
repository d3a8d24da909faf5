package history

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

func mustEqual[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func TestThePastIsDatedByTheBeatsAroundIt(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{})
	hour := start.Add(-time.Hour - time.Millisecond) // not a whole second, which beats are never rounded to
	a := instance("a", "1")
	s.put("a", nil, a, false) // nobody knows when
	s.beat(time.Time{}, hour)
	s.put("a", a, a, true)
	s.delete("a", a)
	s.put("b", nil, instance("b", "2"), false)
	mustEqual(t, "before the next beat", s.all(Filter{}), []string{"joined a"})
	s.beat(hour, hour.Add(10*time.Second))
	s.beat(hour.Add(10*time.Second), hour.Add(10*time.Second)) // under another lease, much later
	s.put("c", nil, instance("c", "3"), false)
	s.caughtUp()
	s.put("d", nil, instance("d", "4"), false) // seen
	events, _ := s.h.List(Query{Filter: Filter{Service: "svc"}})
	type when struct {
		What   string
		Time   time.Time
		Within time.Duration
	}
	var got []when
	for _, e := range events {
		got = append(got, when{fmt.Sprintf("%v %s", e.Kind, e.Instance), e.Time, e.Within})
	}
	mustEqual(t, "times", got, []when{
		{"joined d", start, 0},
		{"joined c", start, start.Sub(hour.Add(10 * time.Second))},
		{"joined b", hour.Add(10 * time.Second), 10 * time.Second},
		{"left a", hour.Add(10 * time.Second), 10 * time.Second},
		{"joined a", time.Time{}, 0},
	})
	mustEqual(t, "since a time", s.all(Filter{Service: "svc", Since: hour}), []string{"left a", "joined b", "joined c", "joined d"})
	mustEqual(t, "until a time", s.all(Filter{Service: "svc", Until: start}), []string{"joined a", "left a", "joined b"})
}

func TestAMomentIsTheRevisionThatWasTheNewestThen(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{})
	s.beat(time.Time{}, start.Add(-time.Minute-time.Millisecond))
	s.put("a", nil, instance("a", "1"), false)
	s.caughtUp()
	s.now = s.now.Add(time.Second)
	s.put("b", nil, instance("b", "2"), false)
	s.now = s.now.Add(time.Second)
	s.caughtUp()
	for _, c := range []struct {
		at   time.Time
		want int64
	}{
		{start.Add(-30 * time.Second), 101}, {start, 102}, {start.Add(999 * time.Millisecond), 102}, {start.Add(time.Second), 103}, {start.Add(2 * time.Second), 103},
	} {
		m, err := s.h.Moment(c.at)
		if err != nil || m.Revision != c.want || m.Time.After(c.at) {
			t.Errorf("at %v: %+v, %v; want revision %d", c.at, m, err, c.want)
		}
	}
	for _, at := range []time.Time{start.Add(-2 * time.Minute), start.Add(time.Hour)} {
		if m, err := s.h.Moment(at); !errors.Is(err, rollcall.ErrRevision) {
			t.Errorf("at %v: %+v, %v", at, m, err)
		}
	}
	if m := s.h.TimeOf(102); !m.Time.Equal(start) {
		t.Errorf("revision 102 was at %+v", m)
	}
	if m := s.h.TimeOf(7); !m.Time.IsZero() {
		t.Errorf("nobody knows when revision 7 was, and it says %+v", m)
	}
}

func TestWhatIsTooMuchOrTooOldIsForgottenAndTheBeginSaysSo(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{MaxEvents: 3, Keep: time.Hour})
	s.caughtUp()
	for n := range 1000 {
		id := fmt.Sprint(n)
		s.put(id, nil, instance(id, id), false)
	}
	mustEqual(t, "the last three", s.all(Filter{}), []string{"joined 997", "joined 998", "joined 999"})
	mustEqual(t, "of a service", len(s.all(Filter{Service: "svc"})), 3)
	mustEqual(t, "begin", s.h.Begin(), Begin{Revision: 1097, Time: start})
	if n := len(s.h.events.chunks); n > 2 {
		t.Errorf("%d chunks for three events", n)
	}
	s.now = s.now.Add(2 * time.Hour)
	s.h.forget()
	mustEqual(t, "an hour later", len(s.all(Filter{})), 0)
	mustEqual(t, "services that are indexed", len(s.h.events.last), 0)
}

func TestTheBeginMovesAlsoWhereNobodyKnowsWhenItWas(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{MaxEvents: 2})
	for n := range 10 { // of the past, and nothing says when
		id := fmt.Sprint(n)
		s.put(id, nil, instance(id, id), false)
	}
	mustEqual(t, "while it reads", s.h.Begin(), Begin{Revision: 108, Reading: true})
	s.caughtUp()
	mustEqual(t, "the last two", s.all(Filter{}), []string{"joined 8", "joined 9"})
	s.put("x", nil, instance("x", "x"), false)
	mustEqual(t, "then", s.h.Begin(), Begin{Revision: 109})
}

func TestAListGoesOnWhereItStoppedWhateverHappensMeanwhile(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{})
	s.caughtUp()
	join := func(from, to int) {
		for n := from; n < to; n++ {
			id := fmt.Sprint(n)
			s.put(id, nil, instance(id, id), false)
		}
	}
	join(0, 5)
	first, next := s.h.List(Query{Limit: 2, Filter: Filter{Service: "svc"}})
	join(5, 7)
	second, next := s.h.List(Query{Limit: 2, Before: next, Filter: Filter{Service: "svc"}})
	third, end := s.h.List(Query{Limit: 2, Before: next, Filter: Filter{Service: "svc"}})
	mustEqual(t, "pages", lines(append(append(first, second...), third...)), []string{"joined 4", "joined 3", "joined 2", "joined 1", "joined 0"})
	mustEqual(t, "the end", end, 0)
	mustEqual(t, "by instance", s.all(Filter{Instance: "3"}), []string{"joined 3"})
	mustEqual(t, "by kind", len(s.all(Filter{Kinds: []Kind{Left, Gap}})), 0)
	mustEqual(t, "by what may be seen", len(s.all(Filter{Sees: func(string) bool { return false }})), 0)
}

// batch is what a stream was told at once.
type batch struct {
	events []Event
	gap    bool
}

// follow follows a stream until n events or a gap were told.
func follow(t *testing.T, h *History, from Start, n int) (all []Event, gap bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := h.Watch(ctx, from, func(events []Event, missing bool) bool {
		all, gap = append(all, events...), gap || missing
		return len(all) < n
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, gap
}

func TestAStreamIsToldWhatItAskedForOnceAndOfWhatItMissed(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{MaxEvents: 5})
	s.caughtUp()
	told := make(chan batch)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- s.h.Watch(ctx, Start{}, func(events []Event, gap bool) bool {
			told <- batch{events, gap}
			return true
		})
	}()
	if b := <-told; len(b.events) > 0 || b.gap {
		t.Errorf("at once: %+v", b)
	}
	s.put("a", nil, instance("a", "1"), false)
	b := <-told
	mustEqual(t, "from now on", lines(b.events), []string{"joined a"})
	s.put("b", nil, instance("b", "2"), false)
	again, gap := follow(t, s.h, Start{After: b.events[0].Sequence}, 1)
	mustEqual(t, "resumed", lines(again), []string{"joined b"})
	mustEqual(t, "gap", gap, false)
	mustEqual(t, "b", lines((<-told).events), []string{"joined b"})

	for n := range 20 { // while nobody reads
		id := fmt.Sprint(n)
		s.put(id, nil, instance(id, id), false)
	}
	var rest []Event
	missed := false
	for len(rest) == 0 || rest[len(rest)-1].Instance != "19" {
		b := <-told
		rest, missed = append(rest, b.events...), missed || b.gap
	}
	if !missed || len(rest) > 6 { // one may have been under way
		t.Errorf("a slow reader was told %v, gap %v", lines(rest), missed)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ended with %v", err)
	}

	_, gap = follow(t, s.h, Start{After: 1}, 0) // of another process
	mustEqual(t, "a sequence that this history cannot have given", gap, true)
	since, _ := follow(t, s.h, Start{Filter: Filter{Since: start, Until: start.Add(time.Second)}}, 3)
	mustEqual(t, "since a time", len(since), 5)
	s.now = s.now.Add(time.Minute)
	over, _ := follow(t, s.h, Start{Filter: Filter{Since: start, Until: start.Add(time.Second)}}, 100)
	mustEqual(t, "until a time that has passed", len(over), 5)
}

func TestAValueThatCannotBeReadIsNoDeparture(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{})
	s.caughtUp()
	a := instance("a", "1")
	s.put("a", nil, a, false)
	s.put("a", a, nil, false) // rubbish
	s.put("a", nil, a, false)
	mustEqual(t, "told", s.all(Filter{}), []string{"joined a"})
}

func TestADepartureIsToldOfWhomeverEtcdHasForgotten(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{})
	a := instance("a", "1")
	s.put("a", nil, a, false)
	s.delete("a", nil) // what it was is compacted away
	s.caughtUp()
	mustEqual(t, "told", s.all(Filter{Service: "svc"}), []string{"joined a", "expired a"})
}
