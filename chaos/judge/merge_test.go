package judge

import (
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

func event(revision int64, key, value string) *mvccpb.Event {
	return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: revision}}
}

func TestMembersAreHeldAgainstWhatWasTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after  int64
		events []*mvccpb.Event
		fresh  int    // events that are new
		wrong  string // what the error tells
	}{
		"the same again":              {1, []*mvccpb.Event{event(2, "a", "1"), event(3, "a", "2"), event(3, "b", "1")}, 0, ""},
		"part of it":                  {2, []*mvccpb.Event{event(3, "a", "2"), event(3, "b", "1")}, 0, ""},
		"more":                        {3, []*mvccpb.Event{event(5, "a", "3"), event(6, "a", "4")}, 1, ""},
		"another value":               {1, []*mvccpb.Event{event(2, "a", "?")}, 0, "revision 2"},
		"another key":                 {1, []*mvccpb.Event{event(2, "z", "1")}, 0, `"z"`},
		"one too many":                {1, []*mvccpb.Event{event(2, "a", "1"), event(2, "b", "1")}, 0, `of "b"`},
		"one left out":                {1, []*mvccpb.Event{event(3, "a", "2"), event(3, "b", "1")}, 0, "revision 3"},
		"the last one left out":       {1, []*mvccpb.Event{event(2, "a", "1"), event(3, "a", "2")}, 0, `"b" at revision 3`},
		"a revision that nobody told": {3, []*mvccpb.Event{event(4, "a", "2")}, 0, "revision 4"},
		"left out before what is new": {3, []*mvccpb.Event{event(6, "a", "2")}, 0, `"a" at revision 5`},
	} {
		h := newHistory(nil)
		if _, err := h.merge(0, []*mvccpb.Event{event(2, "a", "1"), event(3, "a", "2"), event(3, "b", "1"), event(5, "a", "3")}); err != nil {
			t.Fatal(err)
		}
		fresh, err := h.merge(c.after, c.events)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: the error is %v, want one that tells of %s", name, err, c.wrong)
		case len(fresh) != c.fresh:
			t.Errorf("%s: %d events are new, want %d", name, len(fresh), c.fresh)
		case c.wrong != "" && h.head != 5:
			t.Errorf("%s: a refused event has changed the history", name)
		}
	}
}
