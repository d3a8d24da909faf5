package judge

import (
	"testing"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// recounted is what a reader tells.
func recounted(name, id, incarnation string, revision int64) journal.Event {
	return journal.Event{By: "h", What: journal.Recounted, Name: name, Service: "s", ID: id, Incarnation: incarnation, Revision: revision}
}

func TestAHistoryThatTellsOtherwiseThanTheRecordIsFound(t *testing.T) {
	t.Parallel()
	goodbye := put(0, 4, "a", "one")
	goodbye.State = leaving
	record := []journal.Event{
		put(0, 2, "a", "one"), put(0, 3, "a", "one"), goodbye, deleted(0, 5, "a"),
		put(0, 6, "a", "two"), put(0, 7, "a", "three"), with(deleted(0, 8, "a"), func(e *journal.Event) { e.State = serving }), put(0, 9, "a", "three"),
		put(0, 12, "a", "later"), // than the reader has read
	}
	all := []journal.Event{
		recounted(joined, "a", "one", 2), recounted(left, "a", "one", 4), recounted(joined, "a", "two", 6), recounted("changed", "a", "two", 6),
		recounted(replaced, "a", "three", 7), recounted(expired, "a", "three", 8), recounted(returned, "a", "three", 9),
	}
	change := func(n int, name string) []journal.Event {
		some := append([]journal.Event{}, all...)
		some[n].Name = name
		return some
	}
	without := func(n int) []journal.Event { return append(append([]journal.Event{}, all[:n]...), all[n+1:]...) }
	for name, c := range map[string]struct {
		begin int64
		told  []journal.Event
		wrong bool
	}{
		"it tells all":                  {1, all, false},
		"it begins later":               {5, all[2:], false},
		"it says that one expired":      {1, change(1, expired), true},
		"it says that one left":         {1, change(5, left), true},
		"it says that one joined":       {1, change(4, joined), true},
		"it says that one joined again": {1, change(6, joined), true},
		"it leaves one out":             {1, without(2), true},
		"it leaves the last one out":    {1, without(6), true},
		"it tells one twice":            {1, append(append([]journal.Event{}, all...), all[6]), true},
		"it invents one":                {1, append(append([]journal.Event{}, all...), recounted(joined, "b", "x", 9)), true},
	} {
		t.Run(name, func(t *testing.T) {
			reader := journal.Event{By: "h", What: journal.Recounting, Revision: c.begin, Value: 10}
			r := spaced(journal.Expect{}, append(append(append([]journal.Event{}, record...), reader), c.told...)...)
			checkHistory(r)
			if (len(r.found) > 0) != c.wrong {
				t.Errorf("found %v", r.found)
			}
		})
	}
}

func TestAHistoryIsHeldAgainstTheRecordAcrossAWipe(t *testing.T) {
	t.Parallel()
	goodbye := in(1, put(0, 3, "a", "one"))
	goodbye.State = leaving
	record := []journal.Event{put(0, 200, "a", "one"), rewritten(0), in(1, put(0, 2, "a", "one")), goodbye, in(1, put(0, 4, "b", "two"))}
	all := []journal.Event{
		recounted(joined, "a", "one", 200),
		{By: "h", What: journal.Recounted, Name: historyReset},
		recounted(returned, "a", "one", 2), recounted(left, "a", "one", 3), recounted(joined, "b", "two", 4),
	}
	again := append([]journal.Event{}, all...)
	again[2].Name = joined
	for name, c := range map[string]struct {
		told  []journal.Event
		wrong bool
	}{
		"it tells all":             {all, false},
		"it says nothing of it":    {append(append([]journal.Event{}, all[:1]...), all[2:]...), true},
		"it says one joined again": {again, true},
		"it leaves a goodbye out":  {append(append([]journal.Event{}, all[:3]...), all[4:]...), true},
		"it leaves a join out":     {all[:4], true},
	} {
		t.Run(name, func(t *testing.T) {
			reader := journal.Event{By: "h", What: journal.Recounting, Revision: 1, Value: 10}
			r := spaced(journal.Expect{}, append(append(append([]journal.Event{}, record...), reader), c.told...)...)
			checkHistory(r)
			if (len(r.found) > 0) != c.wrong {
				t.Errorf("found %v", r.found)
			}
		})
	}
}
