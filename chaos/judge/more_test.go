package judge

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// spaced makes the events of a story that ends, a second between them.
func spaced(expect journal.Expect, events ...journal.Event) *run {
	expect.TTL = 5 * time.Second
	all := append([]journal.Event{{What: journal.Expecting, Expect: &expect}}, events...)
	for n := range all {
		all[n].At += time.Duration(n+1) * time.Second
		if all[n].Service == "" {
			all[n].Service = "s"
		}
	}
	return newRun(all)
}

func about(by string, what journal.Kind, id, incarnation string) journal.Event {
	return journal.Event{By: by, What: what, ID: id, Incarnation: incarnation}
}

func saw(by, id string, incarnation ...string) journal.Event {
	e := about(by, journal.Listed, id, "")
	for _, i := range incarnation {
		e.Changed = append(e.Changed, journal.Member{ID: id, Incarnation: i})
	}
	return e
}

func TestALookThatMissesWhatWasRegisteredIsNotLinearizable(t *testing.T) {
	joined := []journal.Event{about("p", journal.Registering, "a", ""), about("p", journal.Registered, "a", "one")}
	left := []journal.Event{about("p", journal.Deregistering, "a", ""), about("p", journal.Deregistered, "a", "")}
	look := func(incarnation ...string) []journal.Event {
		return []journal.Event{about("p", journal.Listing, "a", ""), saw("p", "a", incarnation...)}
	}
	lost := []journal.Event{about("p", journal.Registering, "a", ""), with(about("p", journal.Registered, "a", ""), failed)}
	for name, c := range map[string]struct {
		events []journal.Event
		broken bool
	}{
		"it sees what was registered":             {append(joined, look("one")...), false},
		"it sees nothing":                         {append(joined, look()...), true},
		"it sees another incarnation":             {append(joined, look("two")...), true},
		"it sees what has left":                   {append(append(joined, left...), look("one")...), true},
		"it sees what a failed Register has left": {append(lost, look("any")...), false},
		"it sees that come that had gone again":   {append(append(joined, left...), append(look(), look("one")...)...), true},
	} {
		t.Run(name, func(t *testing.T) {
			r := spaced(journal.Expect{Linearizable: true}, c.events...)
			checkLinearizable(r)
			if found := r.found; (len(found) > 0) != c.broken {
				t.Errorf("found %v", found)
			}
		})
	}
}

func TestAProcessThatUsesMoreAndMoreIsNotFlat(t *testing.T) {
	use := func(goroutines int) journal.Event {
		return journal.Event{By: "p", What: journal.Usage, Goroutines: goroutines, Descriptors: 10, Heap: 1 << 20}
	}
	r := spaced(journal.Expect{}, use(10), use(30), use(30), use(35), use(31))
	if checkFlat(r); len(r.found) > 0 {
		t.Errorf("found %v", r.found)
	}
	r = spaced(journal.Expect{}, use(10), use(30), use(30), use(60), use(90))
	if checkFlat(r); len(r.found) != 1 {
		t.Errorf("found %v, want that the goroutines grow", r.found)
	}
}

func TestAViewThatIsSilentAboutAnOutageIsFound(t *testing.T) {
	view := func(stale bool) journal.Event { return journal.Event{By: "w", What: journal.Viewed, Stale: stale} }
	outage := journal.Event{By: "nemesis", What: journal.Fault, Name: away, Target: wholeCluster}
	healed := journal.Event{By: "nemesis", What: journal.Healed, Name: away, Target: wholeCluster}
	later := func(e journal.Event, d time.Duration) journal.Event { e.At = d; return e }
	for name, c := range map[string]struct {
		events []journal.Event
		broken bool
	}{
		"it says so":              {[]journal.Event{view(false), outage, view(true), later(healed, time.Minute)}, false},
		"it says nothing":         {[]journal.Event{view(false), outage, later(healed, time.Minute)}, true},
		"it says so too late":     {[]journal.Event{view(false), outage, later(view(true), 20*time.Second), later(healed, time.Minute)}, true},
		"the outage is too short": {[]journal.Event{view(false), outage, healed}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := spaced(journal.Expect{}, c.events...)
			if checkStale(r); (len(r.found) > 0) != c.broken {
				t.Errorf("found %v", r.found)
			}
		})
	}
}

func TestAnUpdateThatIsForgottenIsFound(t *testing.T) {
	written := func(revision int64, state string) journal.Event {
		e := put(0, revision, "a", "one")
		e.At, e.State = 0, state
		return e
	}
	update := func(what journal.Kind, state string) journal.Event {
		e := about("p", what, "a", "")
		e.State = state
		return e
	}
	start := []journal.Event{
		about("p", journal.Registering, "a", ""), written(2, serving), about("p", journal.Registered, "a", "one"),
		update(journal.Updating, ""), written(3, "draining"), update(journal.Updated, "draining"),
		{By: "judge", What: Synced},
		{By: "judge", What: Synced},
	}
	for name, c := range map[string]struct {
		events []journal.Event
		broken bool
	}{
		"it is written again as it was":  {[]journal.Event{written(4, "draining")}, false},
		"it is written as it was before": {[]journal.Event{written(4, serving)}, true},
		"the next update is under way":   {[]journal.Event{update(journal.Updating, ""), written(4, serving)}, false},
		"the process has said goodbye":   {[]journal.Event{about("p", journal.Closing, "", ""), written(4, serving)}, false},
		"another incarnation is written": {[]journal.Event{with(written(4, serving), func(e *journal.Event) { e.Incarnation = "two" })}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := spaced(journal.Expect{}, append(append(start[:len(start):len(start)], c.events...), journal.Event{What: journal.Done})...)
			if checkUpdates(r); (len(r.found) > 0) != c.broken {
				t.Errorf("found %v", r.found)
			}
		})
	}
}

func TestAGoodbyeThatIsTakenForAnExpiryIsFoundAndTheOtherWayRound(t *testing.T) {
	gone := func(state string) journal.Event {
		e := deleted(0, 3, "a")
		e.At, e.State = 0, state
		return e
	}
	left := func(expired bool) journal.Event {
		e := journal.Event{By: "w", What: journal.Viewed, Revision: 3, Left: []string{"a"}}
		if expired {
			e.Expired = e.Left
		}
		return e
	}
	here := put(0, 2, "a", "one")
	here.At = 0
	start := []journal.Event{here, {By: "w", What: journal.Viewed, Revision: 2, Size: 1, Changed: []journal.Member{has("a", "one")}}}
	for name, c := range map[string]struct {
		events []journal.Event
		broken bool
	}{
		"an expiry":                    {[]journal.Event{gone(serving), left(true)}, false},
		"a goodbye":                    {[]journal.Event{gone(leaving), left(false)}, false},
		"an expiry that is not marked": {[]journal.Event{gone(serving), left(false)}, true},
		"a goodbye that is marked":     {[]journal.Event{gone(leaving), left(true)}, true},
		"a goodbye found by a list":    {[]journal.Event{fault(0, journal.Fault, "m0"), gone(leaving), left(true)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := spaced(journal.Expect{}, append(start[:len(start):len(start)], c.events...)...)
			if checkExpiries(r); (len(r.found) > 0) != c.broken {
				t.Errorf("found %v", r.found)
			}
		})
	}
}
