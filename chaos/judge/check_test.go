package judge

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall/chaos/journal"
)

// sec is a time of a story.
func sec(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func bounds() *journal.Expect {
	return &journal.Expect{
		Scenario: "story", Seed: 7, TTL: 5 * time.Second,
		Visible: time.Second, Back: 2 * time.Second, Gone: 7 * time.Second, Converge: 5 * time.Second, Close: 3 * time.Second,
	}
}

// told is what a process tells, or the run of it, at a time.
func told(at float64, by string, what journal.Kind) journal.Event {
	return journal.Event{At: sec(at), By: by, What: what, Target: map[bool]string{true: by}[what == journal.Unreachable || what == journal.Reachable || what == journal.Exited]}
}

func call(at float64, by string, what journal.Kind, id, incarnation string) journal.Event {
	return journal.Event{At: sec(at), By: by, What: what, Service: "s", ID: id, Incarnation: incarnation}
}

func put(at float64, revision int64, id, incarnation string) journal.Event {
	return journal.Event{At: sec(at), By: "judge", What: journal.Put, Revision: revision, Service: "s", ID: id, Incarnation: incarnation, State: serving, Lease: 1}
}

func deleted(at float64, revision int64, id string) journal.Event {
	return journal.Event{At: sec(at), By: "judge", What: journal.Deleted, Revision: revision, Service: "s", ID: id, State: leaving}
}

func viewed(at float64, revision int64, size int, changed ...journal.Member) journal.Event {
	return journal.Event{At: sec(at), By: "w", What: journal.Viewed, Service: "s", Revision: revision, Size: size, Changed: changed}
}

func has(id, incarnation string) journal.Member {
	return journal.Member{ID: id, Incarnation: incarnation, State: serving}
}

func fault(at float64, what journal.Kind, target string) journal.Event {
	return journal.Event{At: sec(at), By: "nemesis", What: what, Name: "fault", Target: target}
}

func rewritten(at float64) journal.Event {
	return journal.Event{At: sec(at), By: "judge", What: journal.Rewritten, Epoch: 1, Name: "wipe"}
}

// with returns an event changed.
func with(e journal.Event, change func(*journal.Event)) journal.Event {
	change(&e)
	return e
}

func in(epoch int, e journal.Event) journal.Event {
	return with(e, func(e *journal.Event) { e.Epoch = epoch })
}

func replayed(e journal.Event) journal.Event {
	return with(e, func(e *journal.Event) { e.Name = Replayed })
}

func stale(e journal.Event) journal.Event { return with(e, func(e *journal.Event) { e.Stale = true }) }

func reset(e journal.Event) journal.Event { return with(e, func(e *journal.Event) { e.Reset = true }) }

func without(e journal.Event, left ...string) journal.Event {
	return with(e, func(e *journal.Event) { e.Left = left })
}

// story is a run in which nothing happens between 3 s and 60 s: process p has the instances a and b, and w watches. Runs
// that differ leave out some of it, and have more.
func story(more []journal.Event, leaveOut ...func(journal.Event) bool) []journal.Event {
	all := []journal.Event{
		{At: 1, By: "nemesis", What: journal.Expecting, Expect: bounds()},
		told(1, "p", journal.Started), told(1, "w", journal.Started),
		viewed(1.1, 1, 0),
		call(2, "p", journal.Registering, "a", ""), call(2, "p", journal.Registering, "b", ""),
		put(2.01, 2, "a", "a1"), call(2.02, "p", journal.Registered, "a", "a1"), viewed(2.02, 2, 1, has("a", "a1")),
		put(2.03, 3, "b", "b1"), call(2.04, "p", journal.Registered, "b", "b1"), viewed(2.04, 3, 2, has("b", "b1")),
		told(60, "nemesis", journal.Quiet), told(70, "judge", Synced), told(70.1, "nemesis", journal.Done),
		told(71, "w", journal.Closing), told(71.1, "w", journal.Closed), with(told(71.2, "w", journal.Exited), toldTo(0)),
		told(72, "p", journal.Closing), deleted(72.1, 1000, "a"), deleted(72.1, 1000, "b"),
		told(72.2, "p", journal.Closed), with(told(72.3, "p", journal.Exited), toldTo(0)),
		told(74, "judge", Synced), told(74.1, "judge", journal.Leases),
	}
	for n := range all {
		if all[n].What == Synced {
			all[n].Revision = 1000
		}
	}
	for _, out := range leaveOut {
		all = slices.DeleteFunc(all, out)
	}
	all = append(all, more...)
	slices.SortStableFunc(all, func(a, b journal.Event) int { return int(a.At - b.At) })
	last := 0
	for _, e := range all {
		last = max(last, e.Epoch)
	}
	for n := range all { // what ends the story happens in the last epoch
		if e := &all[n]; e.At > sec(60) && (e.What == Synced || e.What == journal.Deleted) {
			e.Epoch = last
		}
	}
	return all
}

func toldTo(code int) func(*journal.Event) {
	return func(e *journal.Event) { e.Told, e.Code = true, code }
}

// of leaves out what a process tells, and the run of it, from a time on; of some kinds, or of all.
func of(process string, from float64, kinds ...journal.Kind) func(journal.Event) bool {
	return func(e journal.Event) bool {
		return (e.By == process || e.Target == process) && e.At >= sec(from) && (len(kinds) == 0 || slices.Contains(kinds, e.What))
	}
}

// goodbyes leaves out that p's keys go in the end.
func goodbyes(e journal.Event) bool { return e.What == journal.Deleted && e.Revision == 1000 }

// TestTheCheckerFindsWhatIsBroken and nothing else: every story is told with what has to be found in it.
func TestTheCheckerFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	back := put(10.1, 5, "a", "a1")
	for name, c := range map[string]struct {
		more     []journal.Event
		leaveOut []func(journal.Event) bool
		want     []string // invariants
	}{
		"nothing happens": {},
		"said goodbye, and not in etcd": {
			more: []journal.Event{
				call(10, "q", journal.Registering, "c", ""), put(10, 4, "c", "c1"), call(10, "q", journal.Registered, "c", "c1"), viewed(10.1, 4, 3, has("c", "c1")),
				call(13, "q", journal.Deregistering, "c", ""), with(deleted(13, 5, "c"), func(e *journal.Event) { e.State = serving }), without(viewed(13.1, 5, 2), "c"),
			},
			want: []string{"I6", "I7"},
		},
		"registered before etcd had it": {
			more: []journal.Event{
				call(10, "q", journal.Registering, "c", ""), call(10, "q", journal.Registered, "c", "c1"), call(10.01, "q", journal.Listing, "c", ""),
				put(10.02, 4, "c", "c1"), with(call(10.03, "q", journal.Listed, "c", ""), func(e *journal.Event) { e.Revision = 3 }), viewed(10.1, 4, 3, has("c", "c1")),
			},
			want: []string{"I1"},
		},
		"two registrations of one incarnation": {
			more: []journal.Event{
				call(10, "q", journal.Registering, "c", ""), put(10, 4, "c", "a1"), call(10, "q", journal.Registered, "c", "a1"), viewed(10.1, 4, 3, has("c", "a1")),
			},
			want: []string{"I1"},
		},
		"a reset of nothing": {more: []journal.Event{reset(viewed(10, 3, 2))}, want: []string{"I10"}},

		// I1
		"registered, and not seen": {
			more: []journal.Event{put(10, 4, "c", "c1"), call(10, "q", journal.Registered, "c", "c1"), viewed(12, 4, 3, has("c", "c1")), call(13, "q", journal.Deregistering, "c", ""), deleted(13, 5, "c"), without(viewed(13.1, 5, 2), "c")},
			want: []string{"I1"},
		},
		"registered, and seen as another": {
			more: []journal.Event{put(10, 4, "a", "a2"), call(10, "p", journal.Registered, "a", "a2"), viewed(20, 4, 2, has("a", "a2"))},
			want: []string{"I1"},
		},
		"registered, and seen once the watcher can see again": {more: []journal.Event{
			fault(9, journal.Fault, "etcd"), put(10, 4, "a", "a2"), call(10, "p", journal.Registered, "a", "a2"), fault(19.5, journal.Healed, "etcd"),
			told(19, "w", journal.Unreachable), told(29, "w", journal.Reachable), viewed(29.5, 4, 2, has("a", "a2")),
		}},
		"registered, and seen once the watcher can see again after a moment": {more: []journal.Event{
			put(10, 4, "a", "a2"), call(10, "p", journal.Registered, "a", "a2"), told(10.2, "w", journal.Unreachable), told(10.8, "w", journal.Reachable),
			viewed(11.5, 4, 2, has("a", "a2")),
		}},
		"registered, and gone before anybody had to see it": {more: []journal.Event{
			put(10, 4, "c", "c1"), call(10, "q", journal.Registered, "c", "c1"), call(10.5, "q", journal.Deregistering, "c", ""), deleted(10.5, 5, "c"),
		}},

		// I2 and I3
		"a live instance is deleted": {more: []journal.Event{deleted(10, 4, "a"), back}, want: []string{"I2"}},
		"a live instance says goodbye, though nobody has told it to": {
			more: []journal.Event{with(put(10, 4, "a", "a1"), func(e *journal.Event) { e.State = leaving }), deleted(10.05, 5, "a"), put(10.1, 6, "a", "a1")},
			want: []string{"I2"},
		},
		"a live instance is deleted after an outage": {
			more: []journal.Event{fault(10, journal.Fault, "etcd"), fault(40, journal.Healed, "etcd"), deleted(47, 4, "a"), put(47.1, 5, "a", "a1")},
			want: []string{"I3"},
		},
		"the run itself deletes it": {more: []journal.Event{call(9.9, "nemesis", journal.Meddled, "a", ""), deleted(10, 4, "a"), without(viewed(10, 4, 1), "a"), back, viewed(10.2, 5, 2, has("a", "a1"))}},
		"the run deletes another":   {more: []journal.Event{call(9.9, "nemesis", journal.Meddled, "b", ""), deleted(10, 4, "a"), back}, want: []string{"I2"}},
		"another incarnation is deleted": {more: []journal.Event{
			call(9, "q", journal.Registering, "a", ""), put(9, 4, "a", "a2"), call(9, "q", journal.Registered, "a", "a2"), viewed(9, 4, 2, has("a", "a2")),
			call(10, "q", journal.Deregistering, "a", ""), deleted(10, 5, "a"), without(viewed(10, 5, 1), "a"), call(10.1, "p", journal.Ended, "a", "a1"),
		}},
		"its process was out of reach for longer than its lease": {more: []journal.Event{
			told(10, "p", journal.Unreachable), deleted(14, 4, "a"), deleted(14, 4, "b"), without(viewed(14, 4, 0), "a", "b"),
			told(20, "p", journal.Reachable), put(21, 5, "a", "a1"), put(21, 5, "b", "b1"), viewed(21, 5, 2, has("a", "a1"), has("b", "b1")),
		}},
		"its process was out of reach for less than its lease": {
			more: []journal.Event{told(10, "p", journal.Unreachable), deleted(11, 4, "a"), told(11.5, "p", journal.Reachable), put(12, 5, "a", "a1")},
			want: []string{"I2"},
		},
		"its process has been in reach again for long": {
			more: []journal.Event{told(10, "p", journal.Unreachable), told(16, "p", journal.Reachable), deleted(19, 4, "a"), put(19, 5, "a", "a1")},
			want: []string{"I2"},
		},
		"what a backup brings along dies with its old lease": {more: []journal.Event{
			with(rewritten(10), func(e *journal.Event) { e.Name = "restore" }),
			in(1, with(put(10, 2, "a", "a1"), func(e *journal.Event) { e.Name, e.Lease = Replayed, 9 })),
			in(1, replayed(put(10, 3, "b", "b1"))),
			in(1, deleted(11, 4, "a")), in(1, put(11.5, 5, "a", "a1")), reset(viewed(12, 5, 2)),
		}},
		"what a backup brings along dies though its lease was its last": {
			more: []journal.Event{
				with(rewritten(10), func(e *journal.Event) { e.Name = "restore" }),
				in(1, replayed(put(10, 2, "a", "a1"))),
				in(1, replayed(put(10, 3, "b", "b1"))),
				in(1, deleted(11, 4, "a")), in(1, put(11.5, 5, "a", "a1")), reset(viewed(12, 5, 2)),
			},
			want: []string{"I2"},
		},

		"what a backup brings along had been gone": {more: []journal.Event{
			told(10, "p", journal.Unreachable), with(deleted(15, 4, "a"), func(e *journal.Event) { e.Lease = 1 }), deleted(15, 4, "b"), without(viewed(15, 4, 0), "a", "b"),
			with(rewritten(20), func(e *journal.Event) { e.Name = "restore" }),
			in(1, replayed(put(20, 2, "a", "a1"))), told(20, "p", journal.Reachable),
			in(1, deleted(23, 3, "a")), in(1, put(24, 4, "a", "a1")), in(1, put(21, 4, "b", "b1")), reset(viewed(24, 4, 2, has("a", "a1"), has("b", "b1"))),
		}},
		"a backup brings along that it was deleted once": {more: []journal.Event{
			call(9.9, "nemesis", journal.Meddled, "a", ""), deleted(10, 4, "a"), without(viewed(10, 4, 1), "a"), back, viewed(10.2, 5, 2, has("a", "a1")),
			rewritten(20), in(1, replayed(put(20, 2, "a", "a1"))), in(1, replayed(put(20, 3, "b", "b1"))), in(1, replayed(deleted(20, 4, "a"))), in(1, replayed(put(20, 5, "a", "a1"))),
		}},

		// I4
		"back late, but in time after a restore": {more: []journal.Event{
			told(3, "p", journal.Unreachable), deleted(8, 4, "a"), told(9, "p", journal.Reachable), without(viewed(9, 4, 1), "a"),
			rewritten(10), in(1, replayed(put(10, 3, "b", "b1"))), in(1, put(11.9, 4, "a", "a1")), reset(viewed(12, 4, 2, has("a", "a1"))),
		}},
		"back late": {
			more: []journal.Event{told(10, "p", journal.Unreachable), deleted(15, 4, "a"), told(20, "p", journal.Reachable), put(22.5, 5, "a", "a1")},
			want: []string{"I4"},
		},
		"back in time, counted from when it could": {more: []journal.Event{told(10, "p", journal.Unreachable), deleted(15, 4, "a"), told(20, "p", journal.Reachable), put(21.9, 5, "a", "a1")}},
		"never put into a wiped store": {
			more: []journal.Event{rewritten(10), in(1, put(11, 2, "b", "b1")), reset(viewed(11, 2, 2, suspect(has("a", "a1"))))},
			want: []string{"I4", "I7", "I9"},
		},
		"put into a wiped store": {more: []journal.Event{
			rewritten(10), in(1, put(11, 2, "b", "b1")), in(1, put(11.5, 3, "a", "a1")), reset(viewed(12, 3, 2)),
		}},
		"overwritten with garbage, and left": {
			more: []journal.Event{with(put(10, 4, "a", ""), func(e *journal.Event) { e.State = "" })},
			want: []string{"I4", "I9"},
		},
		"overwritten by a rival that is told of": {
			more: []journal.Event{call(10, "q", journal.Registering, "a", ""), put(10, 4, "a", "a2"), call(10.1, "q", journal.Registered, "a", "a2"), viewed(10.1, 4, 2, has("a", "a2"))},
		},

		// I6
		"killed, and gone": {more: killed(16, 4), leaveOut: []func(journal.Event) bool{of("p", 61), goodbyes}},
		"killed, and gone late": {
			more: killed(18, 4), leaveOut: []func(journal.Event) bool{of("p", 61), goodbyes}, want: []string{"I6"},
		},
		"killed, and never gone": {
			more: []journal.Event{told(10, "p", journal.Unreachable), with(told(10, "p", journal.Exited), toldTo(-1))}, leaveOut: []func(journal.Event) bool{of("p", 61), goodbyes},
			want: []string{"I6"},
		},
		"killed, and its key another's that nobody has told": {
			more: append([]journal.Event{
				call(8, "q", journal.Registering, "a", ""), put(8, 4, "a", "a9"), viewed(8, 4, 2, has("a", "a9")), call(8.1, "p", journal.Ended, "a", "a1"),
			}, told(10, "p", journal.Unreachable), with(told(10, "p", journal.Exited), toldTo(-1)), deleted(16, 5, "b"), without(viewed(16, 5, 1), "b")),
			leaveOut: []func(journal.Event) bool{of("p", 61)},
		},
		"killed, and brought back by a backup for a while": {
			more: append(killed(16, 4), rewritten(20), in(1, replayed(put(20, 2, "a", "a1"))),
				reset(viewed(20, 2, 1, has("a", "a1"))), in(1, deleted(26, 3, "a")), without(viewed(26, 3, 0), "a")),
			leaveOut: []func(journal.Event) bool{of("p", 61), goodbyes},
		},
		"deregistered, and not gone": {
			more: []journal.Event{call(10, "p", journal.Deregistering, "a", ""), call(10.1, "p", journal.Deregistered, "a", "")},
			want: []string{"I6"},
		},

		// I7
		"a live instance is dropped from the view": {
			more: []journal.Event{without(viewed(10, 3, 1), "a"), viewed(11, 3, 2, has("a", "a1"))},
			want: []string{"I7", "I8"},
		},
		"a live instance is dropped in a reset of a wiped store": {
			more: []journal.Event{rewritten(10), without(reset(viewed(10.1, 1, 0)), "a", "b"), in(1, put(11, 2, "b", "b1")), in(1, put(11.5, 3, "a", "a1")), viewed(12, 3, 2, has("a", "a1"), has("b", "b1"))},
			want: []string{"I7"},
		},
		"a live instance is doubted": {
			more: []journal.Event{deleted(10, 4, "a"), viewed(10, 4, 2, suspect(has("a", "a1"))), back, viewed(10.2, 5, 2, has("a", "a1"))},
			want: []string{"I2", "I7"},
		},
		"a view tells late of what was gone for a reason": {more: []journal.Event{
			told(10, "p", journal.Unreachable), deleted(14, 4, "a"), told(20, "p", journal.Reachable), put(21, 5, "a", "a1"),
			without(viewed(23, 4, 1), "a"), viewed(23.1, 5, 2, has("a", "a1")),
		}},
		"an instance out of reach is doubted when the store is wiped": {more: []journal.Event{
			told(10, "p", journal.Unreachable), rewritten(12), reset(viewed(14, 1, 2, suspect(has("a", "a1")), suspect(has("b", "b1")))), told(20, "p", journal.Reachable),
			in(1, put(21, 2, "a", "a1")), in(1, put(21, 3, "b", "b1")), viewed(22, 3, 2, has("a", "a1"), has("b", "b1")),
		}},
		"a dead instance is doubted": {
			more: append(killed(16, 4)[:4], viewed(16, 4, 2, suspect(has("a", "a1")), suspect(has("b", "b1"))), without(viewed(17, 4, 0), "a", "b")), leaveOut: []func(journal.Event) bool{of("p", 61), goodbyes},
		},

		// I8, I11
		"a view has an instance too early":               {more: []journal.Event{put(10, 5, "c", "c1"), viewed(10.1, 4, 3, has("c", "c1"))}, want: []string{"I8"}},
		"a view has an incarnation that is not there":    {more: []journal.Event{put(10, 4, "a", "a1"), viewed(10.1, 4, 2, has("a", "a7")), viewed(10.2, 4, 2, has("a", "a1"))}, want: []string{"I8"}},
		"a view lacks what is there":                     {more: []journal.Event{put(10, 4, "c", "c1"), viewed(10.1, 5, 2), viewed(10.2, 5, 3, has("c", "c1"))}, want: []string{"I8"}},
		"a view has missed that an instance drains":      {more: []journal.Event{with(put(10, 4, "a", "a1"), func(e *journal.Event) { e.State = "draining" }), viewed(10.2, 4, 2)}, want: []string{"I8", "I9"}},
		"a view shows that an instance drains":           {more: []journal.Event{with(put(10, 4, "a", "a1"), func(e *journal.Event) { e.State = "draining" }), viewed(10.2, 4, 2, journal.Member{ID: "a", Incarnation: "a1", State: "draining"})}},
		"a view lies between two revisions":              {more: []journal.Event{put(10, 9, "c", "c1"), viewed(10.1, 8, 2), viewed(10.2, 9, 3, has("c", "c1"))}},
		"a view has what never was in etcd":              {more: []journal.Event{viewed(10.1, 3, 3, suspect(has("z", "z1"))), without(viewed(10.2, 3, 2), "z")}, want: []string{"I8"}},
		"a view is of a revision that was never reached": {more: []journal.Event{viewed(10, 2000, 3, has("c", "c1")), without(viewed(11, 2000, 2), "c")}, want: []string{"I8"}},
		"the updates of a view are wrong":                {more: []journal.Event{with(viewed(10, 3, 2), func(e *journal.Event) { e.Err = "wrong" })}, want: []string{"I11"}},
		"a watcher goes back to the store before": {
			more: []journal.Event{rewritten(10), in(1, put(11, 2, "b", "b1")), in(1, put(11, 3, "c", "c1")), in(1, put(11.5, 4, "a", "a1")), reset(viewed(12, 4, 3, has("c", "c1"))), without(reset(viewed(13, 4, 2)), "c"), viewed(14, 4, 3, has("c", "c1"))},
			want: []string{"I8"},
		},
		"another store without a reset": {
			more: []journal.Event{rewritten(10), in(1, put(11, 2, "b", "b1")), in(1, put(11, 3, "a", "a1")), in(1, put(11.5, 4, "c", "c1")), viewed(12, 4, 3, has("c", "c1"))},
			want: []string{"I10"},
		},
		"a list of what was": {more: []journal.Event{put(10, 4, "a", "a1"), call(10.1, "p", journal.Listing, "a", ""), listed(10.2, 4, has("a", "a1"))}},
		"a list of what was not": {
			more: []journal.Event{put(10, 4, "a", "a1"), call(10.1, "p", journal.Listing, "a", ""), listed(10.2, 4)}, want: []string{"I8"},
		},
		"a list that is behind": {
			more: []journal.Event{put(10, 4, "a", "a1"), call(10.1, "p", journal.Listing, "a", ""), listed(10.2, 3, has("a", "a1"))}, want: []string{"I8"},
		},

		// I9
		"still stale":               {more: []journal.Event{stale(viewed(59, 3, 2))}, want: []string{"I9"}},
		"stale again":               {more: []journal.Event{stale(viewed(66, 3, 2)), viewed(66.1, 3, 2)}, want: []string{"I9"}},
		"fresh in time":             {more: []journal.Event{stale(viewed(59, 3, 2)), viewed(64.9, 3, 2)}},
		"still doubting":            {more: []journal.Event{viewed(59, 3, 3, suspect(has("a2", "x")))}, want: []string{"I8", "I9"}},
		"never told of a change":    {more: []journal.Event{put(55, 4, "c", "c1")}, want: []string{"I9"}},
		"told of a change late":     {more: []journal.Event{put(55, 4, "c", "c1"), viewed(66, 4, 3, has("c", "c1"))}, want: []string{"I9"}},
		"a watcher that is cut off": {more: []journal.Event{told(50, "w", journal.Unreachable), put(55, 4, "c", "c1")}},

		// I10
		"a revision goes back":             {more: []journal.Event{put(10, 4, "x", "x1"), deleted(10, 5, "x"), viewed(10, 5, 2), viewed(11, 3, 2)}, want: []string{"I10"}},
		"a size that is not what was told": {more: []journal.Event{viewed(10, 3, 7)}, want: []string{"I10"}},

		// I13
		"closed with an error": {more: []journal.Event{with(told(72.2, "p", journal.Closed), failed)}, leaveOut: []func(journal.Event) bool{of("p", 72.2, journal.Closed)}, want: []string{"I13"}},
		"closed with an error while etcd is away": {
			more: []journal.Event{with(told(72.2, "p", journal.Closed), failed), fault(71.5, journal.Fault, "etcd")}, leaveOut: []func(journal.Event) bool{of("p", 72.2, journal.Closed)},
		},
		"not closed":            {leaveOut: []func(journal.Event) bool{of("p", 72.2, journal.Closed)}, want: []string{"I13"}},
		"closed late":           {more: []journal.Event{with(told(75.3, "p", journal.Exited), toldTo(0))}, leaveOut: []func(journal.Event) bool{of("p", 72.2, journal.Exited)}, want: []string{"I13"}},
		"ended with a code":     {more: []journal.Event{with(told(72.3, "p", journal.Exited), toldTo(3))}, leaveOut: []func(journal.Event) bool{of("p", 72.2, journal.Exited)}, want: []string{"I13"}},
		"ended without closing": {more: []journal.Event{with(told(71.2, "w", journal.Exited), toldTo(2))}, leaveOut: []func(journal.Event) bool{of("w", 71)}, want: []string{"I13"}},
		"a key is left":         {leaveOut: []func(journal.Event) bool{goodbyes}, want: []string{"I13"}},
		"a lease is left":       {more: []journal.Event{with(told(75, "judge", journal.Leases), func(e *journal.Event) { e.Value = 2 })}, want: []string{"I13"}},

		// I14
		"ended by itself": {
			more: []journal.Event{with(told(50, "w", journal.Exited), func(e *journal.Event) { e.Code = 2 })}, leaveOut: []func(journal.Event) bool{of("w", 51)}, want: []string{"I14"},
		},
		"never ended":     {leaveOut: []func(journal.Event) bool{of("w", 51)}, want: []string{"I14"}},
		"a watcher ended": {more: []journal.Event{{At: sec(50), By: "w", What: journal.Unviewed, Service: "s", Err: "closed"}}, want: []string{"I14"}},

		// I17
		"more than is allowed":    {more: []journal.Event{limit("calls", 3), measured("calls", 3.5)}, want: []string{"I17"}},
		"no more than is allowed": {more: []journal.Event{limit("calls", 3), measured("calls", 3), measured("others", 9)}},
		"not measured":            {more: []journal.Event{limit("calls", 3)}, want: []string{"run"}},

		// The verdict itself
		"members disagree": {more: []journal.Event{{At: sec(9), By: "judge", What: Contradiction, Err: "x"}}, want: []string{"record"}},
		"a hole":           {more: []journal.Event{{At: sec(9), By: "judge", What: Hole, Revision: 3}}, want: []string{"record"}},
		"never complete":   {leaveOut: []func(journal.Event) bool{of("judge", 0, Synced)}, want: []string{"record"}},
		"cut short":        {leaveOut: []func(journal.Event) bool{of("nemesis", 0, journal.Done)}, want: []string{"run"}},
		"never quiet":      {leaveOut: []func(journal.Event) bool{of("nemesis", 0, journal.Quiet)}, want: []string{"run"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			found := Check(story(c.more, c.leaveOut...))
			for _, v := range found {
				if !slices.Contains(got, v.Invariant) {
					got = append(got, v.Invariant)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				var report bytes.Buffer
				Report(&report, name, 7, found)
				t.Errorf("invariants found broken (-want +got):\n%s\n%s", diff, &report)
			}
		})
	}
}

// killed is that p is killed at 10 s, and its keys go later.
func killed(gone float64, revision int64) []journal.Event {
	return []journal.Event{
		told(10, "p", journal.Unreachable), with(told(10, "p", journal.Exited), toldTo(-1)),
		deleted(gone, revision, "a"), deleted(gone, revision, "b"),
		without(viewed(gone, revision, 0), "a", "b"),
	}
}

func suspect(m journal.Member) journal.Member { m.Suspect = true; return m }

func failed(e *journal.Event) { e.Err = "failed" }

func listed(at float64, revision int64, changed ...journal.Member) journal.Event {
	return journal.Event{At: sec(at), By: "p", What: journal.Listed, Service: "s", ID: "a", Revision: revision, Changed: changed}
}

func limit(name string, most float64) journal.Event {
	e := bounds()
	e.Most = map[string]float64{name: most}
	return journal.Event{At: 2, By: "nemesis", What: journal.Expecting, Expect: e}
}

func measured(name string, value float64) journal.Event {
	return journal.Event{At: sec(65), By: "nemesis", What: journal.Load, Name: name, Value: value}
}

func TestAReportTellsRuleSeedAndTimeline(t *testing.T) {
	t.Parallel()
	var more []journal.Event
	for n := range int64(8) {
		at := 10 + float64(n)
		more = append(more, deleted(at, 4+2*n, "a"), put(at+0.1, 5+2*n, "a", "a1"))
	}
	found := Check(story(append(more, fault(9, journal.Fault, "m1"))))
	var b bytes.Buffer
	Report(&b, "story", 7, found)
	text := b.String()
	for _, want := range []string{
		"story, seed 7: 8 violations", "I2 is broken: " + ruleDeleted, "I2 at 10.000s, s/a, process p", "and 3 more",
		"2.020s  p         registered s/a incarnation a1", "9.000s  nemesis   fault fault on m1", "---- here ----",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "s/b") {
		t.Errorf("the report tells of others:\n%s", text)
	}
}
