package judge

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// fleet is a run of many instances, which come, change hands now and then, and of which as many leave as come, with
// watchers that see every so manieth revision.
func fleet(instances, changes, watchers, each int) []journal.Event {
	var all []journal.Event
	clock, revision := time.Second, int64(1)
	tell := func(by string, e journal.Event) {
		clock += 50 * time.Microsecond
		e.At, e.By, e.Service = clock, by, "s"
		all = append(all, e)
	}
	expect := bounds()
	expect.Visible, expect.Back, expect.Gone = 10*time.Second, time.Second, time.Second
	tell("nemesis", journal.Event{What: journal.Expecting, Expect: expect})
	pending := make([]map[string]*journal.Member, watchers) // what each watcher has not seen yet; nil: gone
	shown := make([]map[string]bool, watchers)
	for w := range watchers {
		pending[w], shown[w] = map[string]*journal.Member{}, map[string]bool{}
		tell(fmt.Sprint("w", w), journal.Event{What: journal.Started})
	}
	change := func(id string, m *journal.Member) {
		revision++
		e := journal.Event{What: journal.Deleted, Revision: revision, ID: id, State: leaving}
		if m != nil {
			e.What, e.Incarnation, e.State = journal.Put, m.Incarnation, serving
		}
		tell("judge", e)
		for w := range watchers {
			pending[w][id] = m
		}
	}
	view := func(w int) {
		e := journal.Event{What: journal.Viewed, Revision: revision}
		for id, m := range pending[w] {
			switch {
			case m != nil:
				e.Changed = append(e.Changed, *m)
				shown[w][id] = true
			case shown[w][id]:
				e.Left = append(e.Left, id)
				delete(shown[w], id)
			}
		}
		clear(pending[w])
		e.Size = len(shown[w])
		tell(fmt.Sprint("w", w), e)
	}
	register := func(n int) {
		id, process := fmt.Sprint("i", n), fmt.Sprint("p", n%100)
		m := journal.Member{ID: id, Incarnation: fmt.Sprint(id, "/", revision), State: serving}
		tell(process, journal.Event{What: journal.Registering, ID: id})
		change(id, &m)
		tell(process, journal.Event{What: journal.Registered, ID: id, Incarnation: m.Incarnation})
	}
	for n := range instances {
		register(n)
	}
	for n := range changes {
		if n%each == 0 {
			view(n / each % watchers)
		}
		id, process := fmt.Sprint("i", n), fmt.Sprint("p", n%100)
		tell(process, journal.Event{What: journal.Deregistering, ID: id})
		change(id, nil)
		tell(process, journal.Event{What: journal.Deregistered, ID: id})
		register(n + instances)
	}
	tell("nemesis", journal.Event{What: journal.Quiet})
	for w := range watchers {
		view(w)
	}
	tell("judge", journal.Event{What: Synced, Revision: revision})
	clock += expect.Converge
	tell("nemesis", journal.Event{What: journal.Done})
	for w := range watchers {
		by := fmt.Sprint("w", w)
		tell(by, journal.Event{What: journal.Closing})
		tell(by, journal.Event{What: journal.Closed})
		tell("nemesis", journal.Event{What: journal.Exited, Target: by, Told: true})
	}
	return all
}

// Ten thousand instances, hundreds of views: no invariant may cost a walk over all of them for each view.
func TestALargeRunIsJudgedInSeconds(t *testing.T) {
	t.Parallel()
	events := fleet(10_000, 20_000, 5, 50)
	began := time.Now()
	if found := Check(events); len(found) > 0 {
		t.Fatalf("%d violations in a run that is consistent, the first: %v", len(found), found[0])
	}
	took := time.Since(began)
	t.Logf("%d events in %v", len(events), took)
	if took > 20*time.Second {
		t.Errorf("%d events took %v", len(events), took)
	}

	// One thing that is wrong in it is found, and nothing else.
	n := slices.IndexFunc(events, func(e journal.Event) bool {
		return e.What == journal.Viewed && len(e.Changed) > 10 && e.At > events[len(events)/2].At
	})
	events[n].Changed[7].Incarnation += "?"
	found := Check(events)
	if len(found) == 0 || len(found) > 100 {
		t.Fatalf("%d violations of a run in which one incarnation is wrong", len(found))
	}
	for _, v := range found {
		if v.Invariant != "I8" && v.Invariant != "I9" && v.Invariant != "I1" {
			t.Errorf("found too: %v", v)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	events := fleet(10_000, 20_000, 5, 50)
	for b.Loop() {
		Check(events)
	}
}
