package judge

import (
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// watcher is one that follows a service in a process, and its views, put together again from what changed in each.
type watcher struct {
	life    *life
	service string
	first   time.Duration // when it told something for the first time
	views   []view
	shown   map[string][]showing
}

// view is a view in brief.
type view struct {
	event    *journal.Event
	hash     uint64 // of those that are no suspects
	count    int    // of them
	size     int
	suspects int
	left     []journal.Member // as they were in the view before
}

// showing is how an instance appears from a moment on; if it does.
type showing struct {
	at    time.Duration
	there bool
	journal.Member
}

// readWatchers puts the views together.
func (r *run) readWatchers() {
	type name struct {
		life          *life
		service, name string
	}
	all := map[name]*watcher{}
	lives := r.timesOf()
	for n := range r.events {
		e := &r.events[n]
		if e.What != journal.Viewed && e.What != journal.Unviewed || e.At > r.end {
			continue
		}
		who := name{lives(e.By, e.At), e.Service, e.Name}
		w := all[who]
		if w == nil {
			w = &watcher{life: who.life, service: e.Service, first: e.At, shown: map[string][]showing{}}
			all[who] = w
			r.watchers = append(r.watchers, w)
		}
		if e.What == journal.Viewed {
			w.add(e, r.store.odd)
		}
	}
}

// timesOf returns who tells which of the lives of a process had a moment.
func (r *run) timesOf() func(process string, at time.Duration) *life {
	lives := map[string][]*life{}
	for _, l := range r.lives {
		lives[l.process] = append(lives[l.process], l)
	}
	return func(process string, at time.Duration) *life {
		of := lives[process]
		for n := len(of) - 1; n >= 0; n-- {
			if of[n].from <= at || n == 0 {
				return of[n]
			}
		}
		l := r.life(process, r.began) // it tells nothing but views
		lives[process] = []*life{l}
		return l
	}
}

func (w *watcher) add(e *journal.Event, odd map[slot]bool) {
	v := view{event: e}
	if len(w.views) > 0 {
		before := w.views[len(w.views)-1]
		v.hash, v.count, v.size, v.suspects = before.hash, before.count, before.size, before.suspects
	}
	for _, id := range e.Left {
		if was, there := w.now(id); there {
			v.left = append(v.left, was)
			v.take(w.service, was, odd, -1)
		}
		w.shown[id] = append(w.shown[id], showing{at: e.At})
	}
	for _, m := range e.Changed {
		if was, there := w.now(m.ID); there {
			v.take(w.service, was, odd, -1)
		}
		v.take(w.service, m, odd, +1)
		w.shown[m.ID] = append(w.shown[m.ID], showing{e.At, true, m})
	}
	w.views = append(w.views, v)
}

// take counts a member in (+1) or out (-1).
func (v *view) take(service string, m journal.Member, odd map[slot]bool, n int) {
	v.size += n
	switch {
	case m.Suspect:
		v.suspects += n
	case !odd[slot{service, m.ID}]:
		v.count += n
		v.hash ^= sum(m.ID, m.Incarnation, stated(m.State))
	}
}

// stated is what an instance says of itself if it says nothing.
func stated(state string) string {
	if state == "" {
		return serving
	}
	return state
}

func (w *watcher) now(id string) (journal.Member, bool) {
	all := w.shown[id]
	if len(all) == 0 {
		return journal.Member{}, false
	}
	return all[len(all)-1].Member, all[len(all)-1].there
}

// showed returns how an instance appeared at a moment.
func (w *watcher) showed(id string, at time.Duration) (journal.Member, bool) {
	all := w.shown[id]
	for n := len(all) - 1; n >= 0; n-- {
		if all[n].at <= at {
			return all[n].Member, all[n].there
		}
	}
	return journal.Member{}, false
}

// at returns the latest view at a moment; nil before the first.
func (w *watcher) at(t time.Duration) *view {
	for n := len(w.views) - 1; n >= 0; n-- {
		if w.views[n].event.At <= t {
			return &w.views[n]
		}
	}
	return nil
}

// running reports whether the process of a watcher runs at a moment, is not about to end, and is not cut off.
func (w *watcher) running(at time.Duration) bool {
	l := w.life
	return at < l.to && (l.closing == nil || at < l.closing.At) && !within(l.unreachable, at)
}
