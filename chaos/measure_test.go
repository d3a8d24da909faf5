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
