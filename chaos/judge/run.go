package judge

import (
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	// wholeCluster is the Target of a fault that strikes all of etcd.
	wholeCluster = "etcd"
	// lag is how much later than a process the judge, or another process, may tell the same.
	lag = time.Second
	// settling is how long what was excused when its cause ended may still go on.
	settling = 2 * time.Second
)

// slot is where one instance lies: a service and an id.
type slot struct{ service, id string }

// run is everything that was told, sorted by who it is about.
type run struct {
	events     []journal.Event
	expect     journal.Expect
	expected   bool
	began, end time.Duration // end: of what is judged, the rest is the clean-up
	done       bool
	quiet      time.Duration

	lives    []*life
	living   map[string]*life // the present one of each process
	stays    map[slot][]*stay
	store    *store
	watchers []*watcher

	faulty   bool                     // something was done to somebody other than a process
	outages  []span                   // faults of the whole cluster
	rewrites []span                   // moments
	meddling map[slot][]time.Duration // the run's own doing to keys

	found []Violation
}

func newRun(events []journal.Event) *run {
	r := &run{
		events: events, quiet: forever,
		living: map[string]*life{}, stays: map[slot][]*stay{}, meddling: map[slot][]time.Duration{},
	}
	if len(events) > 0 {
		r.began, r.end = events[0].At, events[len(events)-1].At
	}
	r.readFrame()
	r.readProcesses()
	r.readFaults()
	r.store = readStore(r.events, r.expect.Unreadable)
	r.readWatchers()
	return r
}

// readFrame reads how the run is to be judged, and which part of it.
func (r *run) readFrame() {
	for _, e := range r.events {
		switch e.What {
		case journal.Expecting:
			if e.Expect != nil {
				r.expect, r.expected = *e.Expect, true
			}
		case journal.Quiet:
			r.quiet = e.At
		case journal.Done:
			r.end, r.done = e.At, true
		case journal.Rewritten:
			r.rewrites = append(r.rewrites, span{e.At, e.At})
		}
	}
}

// readFaults reads when all of etcd was struck, and what the run itself did to keys.
func (r *run) readFaults() {
	began := map[string]time.Duration{} // by name
	for _, e := range r.events {
		r.faulty = r.faulty || e.What == journal.Fault
		_, open := began[e.Name]
		switch {
		case e.What == journal.Meddled:
			k := slot{e.Service, e.ID}
			r.meddling[k] = append(r.meddling[k], e.At)
		case e.Target != wholeCluster:
		case e.What == journal.Fault && !open:
			began[e.Name] = e.At
		case e.What == journal.Healed && open:
			r.outages = append(r.outages, span{began[e.Name], e.At})
			delete(began, e.Name)
		}
	}
	for _, at := range began {
		r.outages = append(r.outages, span{at, forever})
	}
}

// meddled reports whether the run itself took a key away, or may have, at a moment.
func (r *run) meddled(k slot, at time.Duration) bool {
	return slices.ContainsFunc(r.meddling[k], func(m time.Duration) bool { return m <= at && at <= m+settling })
}

// report adds a violation, and fills in what all have in common.
func (r *run) report(v Violation) {
	v.Seed, v.Began = r.expect.Seed, r.began
	r.found = append(r.found, v)
}
