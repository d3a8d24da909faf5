package main

import (
	"context"
	"slices"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/journal"
)

// watch tells every view of the service, as what differs from the one before. It returns when ctx ends.
func (s *settings) watch(ctx context.Context, reg *rollcall.Registry, j *journal.Writer) {
	w := reg.Watch(s.service)
	defer w.Close()
	known := map[string]journal.Member{}
	for ctx.Err() == nil {
		v, err := w.Next(ctx)
		switch {
		case err == nil:
			e := differences(known, v)
			if !explained(e, v) {
				e.Err = "the updates of the view are not what has changed in it"
			}
			j.Tell(e)
		case ctx.Err() == nil:
			j.Tell(journal.Event{What: journal.Unviewed, Service: s.service, Err: err.Error()})
			return // a watcher's Next fails for good only
		}
	}
}

// differences brings what is known up to a view, and returns the event that tells of it.
func differences(known map[string]journal.Member, v *rollcall.View) journal.Event {
	e := journal.Event{
		What: journal.Viewed, Service: v.Service, Revision: v.Revision, Size: len(v.Instances),
		Stale: !v.StaleSince.IsZero(), Reset: v.Reset,
	}
	present := make(map[string]bool, len(v.Instances))
	for _, i := range v.Instances {
		m := member(i)
		present[m.ID] = true
		if was, found := known[m.ID]; !found || was != m {
			known[m.ID] = m
			e.Changed = append(e.Changed, m)
		}
	}
	for id := range known {
		if !present[id] {
			delete(known, id)
			e.Left = append(e.Left, id)
		}
	}
	slices.Sort(e.Left)
	return e
}

// explained tells whether the updates that a view carries tell of every change that was found in it.
func explained(e journal.Event, v *rollcall.View) bool {
	told := make(map[string]rollcall.Op, len(v.Updates))
	for _, u := range v.Updates {
		told[u.Instance.ID] = u.Op
	}
	for _, m := range e.Changed {
		if op, found := told[m.ID]; !found || op == rollcall.Delete {
			return false
		}
	}
	for _, id := range e.Left {
		if told[id] != rollcall.Delete {
			return false
		}
	}
	return true
}

func member(i *rollcall.Instance) journal.Member {
	return journal.Member{ID: i.ID, Incarnation: i.Incarnation, State: string(i.State), Suspect: i.Suspect}
}
