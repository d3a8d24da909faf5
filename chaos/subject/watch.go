package main

import (
	"context"
	"fmt"
	"maps"
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
			before := maps.Clone(known)
			e := differences(known, v)
			e.Err = faultOf(e, v, before)
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
	for _, u := range v.Updates {
		if u.Op == rollcall.Delete && u.Expired {
			e.Expired = append(e.Expired, u.Instance.ID)
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

// faultOf tells what is wrong with a view in itself, beside the one before it; "" if nothing is.
func faultOf(e journal.Event, v *rollcall.View, before map[string]journal.Member) string {
	for _, i := range v.Instances {
		if !whole(i) {
			return fmt.Sprintf("%s does not have what was registered: %s, %q, %v", i.ID, i.Addr, i.Zone, i.Metadata)
		}
	}
	changed := map[string]bool{} // by id; false: it left
	for _, m := range e.Changed {
		changed[m.ID] = true
	}
	for _, id := range e.Left {
		changed[id] = false
	}
	for _, u := range v.Updates {
		id := u.Instance.ID
		was, known := before[id]
		stays, differs := changed[id]
		delete(changed, id)
		switch {
		case known != (u.Op != rollcall.Add), known != (u.Prev != nil), known && u.Prev.Incarnation != was.Incarnation:
			return fmt.Sprintf("an update says %s of %s, which was there before: %v", u.Op, id, known)
		case differs && stays == (u.Op == rollcall.Delete):
			return fmt.Sprintf("an update says %s of %s, which is there: %v", u.Op, id, stays)
		case !differs && (u.Op != rollcall.Modify || u.Instance.Revision == u.Prev.Revision && !v.Reset):
			return fmt.Sprintf("an update says %s of %s, which has not changed", u.Op, id)
		}
	}
	for id := range changed {
		return "no update tells of what has become of " + id
	}
	return ""
}

func member(i *rollcall.Instance) journal.Member {
	return journal.Member{ID: i.ID, Incarnation: i.Incarnation, State: string(i.State), Suspect: i.Suspect}
}
