package chaos

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// told makes the events of a story, a second between them.
func told(events ...journal.Event) []journal.Event {
	for n := range events {
		events[n].At = time.Duration(n+1) * time.Second
		if events[n].Service == "" {
			events[n].Service = "s"
		}
	}
	return events
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

func failed(e journal.Event) journal.Event {
	e.Err = "no answer"
	return e
}

func TestALookThatMissesWhatWasRegisteredIsNotLinearizable(t *testing.T) {
	joined := []journal.Event{about("p", journal.Registering, "a", ""), about("p", journal.Registered, "a", "one")}
	left := []journal.Event{about("p", journal.Deregistering, "a", ""), about("p", journal.Deregistered, "a", "")}
	look := func(incarnation ...string) []journal.Event {
		return []journal.Event{about("p", journal.Listing, "a", ""), saw("p", "a", incarnation...)}
	}
	lost := []journal.Event{about("p", journal.Registering, "a", ""), failed(about("p", journal.Registered, "a", ""))}
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
			if found := linearizable(told(c.events...)); (len(found) > 0) != c.broken {
				t.Errorf("found %v", found)
			}
		})
	}
}

func TestAProcessThatUsesMoreAndMoreIsNotFlat(t *testing.T) {
	use := func(goroutines int) journal.Event {
		return journal.Event{By: "p", What: journal.Usage, Goroutines: goroutines, Descriptors: 10, Heap: 1 << 20}
	}
	if found := flat(told(use(10), use(30), use(30), use(35), use(31))); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	if found := flat(told(use(10), use(30), use(30), use(60), use(90))); len(found) != 1 {
		t.Errorf("found %v, want that the goroutines grow", found)
	}
}

func TestAViewThatIsSilentAboutAnOutageIsFound(t *testing.T) {
	view := func(stale bool) journal.Event { return journal.Event{By: "w", What: journal.Viewed, Stale: stale} }
	outage := journal.Event{By: "nemesis", What: journal.Fault, Name: "outage", Target: "etcd"}
	healed := journal.Event{By: "nemesis", What: journal.Healed, Name: "outage", Target: "etcd"}
	for name, c := range map[string]struct {
		events []journal.Event
		broken bool
	}{
		"it says so":          {told(view(false), outage, view(true), healed, view(false)), false},
		"it says nothing":     {told(view(false), outage, healed, view(false)), true},
		"it says so too late": {late(told(view(false), outage, view(true))), true},
	} {
		t.Run(name, func(t *testing.T) {
			if found := toldStale(c.events); (len(found) > 0) != c.broken {
				t.Errorf("found %v", found)
			}
		})
	}
}

// late moves the last event of a story by a minute.
func late(events []journal.Event) []journal.Event {
	events[len(events)-1].At += time.Minute
	return events
}

func TestFiguresTellWhatBecameOfInstancesAndViews(t *testing.T) {
	put := func(id string) journal.Event {
		return journal.Event{By: "judge", What: journal.Put, Key: "/" + id, Text: id}
	}
	gone := func(id string) journal.Event { return journal.Event{By: "judge", What: journal.Deleted, Key: "/" + id} }
	shows := func(id string) journal.Event {
		return journal.Event{By: "w", What: journal.Viewed, Changed: []journal.Member{{ID: id}}}
	}
	hides := func(id string) journal.Event { return journal.Event{By: "w", What: journal.Viewed, Left: []string{id}} }
	fault := journal.Event{By: "nemesis", What: journal.Fault, Name: "hung", Target: "m0"}
	done := journal.Event{By: "nemesis", What: journal.Done}
	start := []journal.Event{about("i", journal.Registering, "a", ""), about("i", journal.Registered, "a", ""), put("a"), shows("a"), fault}
	for name, c := range map[string]struct {
		events []journal.Event
		want   figures
	}{
		"nothing happens":        {[]journal.Event{done}, figures{Alive: 1}},
		"it is lost and is back": {[]journal.Event{gone("a"), hides("a"), put("a"), shows("a"), done}, figures{Alive: 1, Deleted: 1, Absent: 2 * time.Second, Wrong: time.Second}},
		"it is lost for good":    {[]journal.Event{gone("a"), hides("a"), done}, figures{Alive: 1, Deleted: 1, Missing: 1, Absent: 2 * time.Second, Wrong: time.Second}},
		"the view never hears":   {[]journal.Event{gone("a"), put("a"), gone("a"), done}, figures{Alive: 1, Deleted: 1, Missing: 1, Absent: time.Second, Wrong: time.Second, Forever: true}},
		"it is told to end":      {[]journal.Event{about("i", journal.Closing, "", ""), gone("a"), hides("a"), done}, figures{Wrong: time.Second}},
		"its watcher ends":       {[]journal.Event{{By: "nemesis", What: journal.Exited, Target: "w"}, gone("a"), put("a"), done}, figures{Alive: 1, Deleted: 1, Absent: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			got := measure(told(append(start[:len(start):len(start)], c.events...)...))
			got.Load = nil
			if got.Alive != c.want.Alive || got.Deleted != c.want.Deleted || got.Missing != c.want.Missing || got.Absent != c.want.Absent ||
				got.Wrong != c.want.Wrong || got.Forever != c.want.Forever {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
