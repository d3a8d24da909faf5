package chaos

import (
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// figures are what a run measured, of rollcall or of a peer: they are for the results page, and judge nothing.
type figures struct {
	Alive   int           // instances whose processes lived and wanted to be found from the first fault to the end
	Deleted int           // of those, that were deleted from etcd at least once
	Missing int           // of those, that were not in etcd at the end
	Absent  time.Duration // the longest that one of them was missing while etcd was there
	Wrong   time.Duration // the longest that a view did not show what etcd held
	Forever bool          // a view still did not at the end
	Load    map[string]float64
}

// measure replays a run. A key belongs to the instance whose id, for peers its address, it or its value mentions.
func measure(events []journal.Event) figures {
	r := replay{
		f: figures{Load: map[string]float64{}}, alive: map[string]bool{}, service: map[string]string{}, owner: map[string]string{}, here: map[string]int{},
		gone: map[string]time.Duration{}, lost: map[string]bool{}, views: map[string]map[string]*shown{},
	}
	r.findAlive(events)
	for _, e := range events {
		if e.What == journal.Done {
			r.end(e.At)
			break
		}
		r.step(e)
	}
	for _, e := range events {
		if e.What == journal.Load {
			r.f.Load[e.Name] = e.Value
		}
	}
	return r.f
}

// replay is the state of a run at one moment.
type replay struct {
	f       figures
	alive   map[string]bool          // the ids that should always be found
	service map[string]string        // of all ids that were ever registered
	owner   map[string]string        // key → id
	here    map[string]int           // id → how many keys of it etcd has
	gone    map[string]time.Duration // id → since when it has none
	lost    map[string]bool          // ids that were deleted
	down    bool                     // etcd is away
	faulted bool
	views   map[string]map[string]*shown // by process and service
}

// shown is what one watcher shows of one service.
type shown struct {
	has   map[string]bool
	wrong int           // ids about which it differs from etcd
	since time.Duration // since when it differs at all
}

// findAlive finds the instances that nobody wanted gone.
func (r *replay) findAlive(events []journal.Event) {
	by := map[string][]string{}
	for _, e := range events {
		switch e.What {
		case journal.Registering:
			r.service[e.ID] = e.Service
		case journal.Registered:
			if e.Err == "" && !r.faulted {
				r.alive[e.ID] = true
				by[e.By] = append(by[e.By], e.ID)
			}
		case journal.Fault:
			r.faulted = true
		case journal.Deregistering, journal.Ended:
			delete(r.alive, e.ID)
		case journal.Closing:
			for _, id := range by[e.By] {
				delete(r.alive, id)
			}
		case journal.Unreachable:
			for _, id := range by[e.Target] {
				delete(r.alive, id)
			}
		case journal.Done:
			r.f.Alive = len(r.alive)
			return
		}
	}
}

func (r *replay) step(e journal.Event) {
	switch e.What {
	case journal.Fault:
		r.down = r.down || e.Target == "etcd"
	case journal.Healed:
		if e.Target == "etcd" {
			r.down = false
			for id := range r.gone {
				r.gone[id] = max(r.gone[id], e.At)
			}
		}
	case journal.Rewritten:
		for key := range r.owner {
			r.remove(key, e.At, false)
		}
	case journal.Put:
		r.put(e)
	case journal.Deleted:
		r.remove(e.Key, e.At, true)
	case journal.Viewed:
		r.show(e)
	case journal.Exited:
		delete(r.views, e.Target) // whoever cannot look is not wrong
	}
}

func (r *replay) put(e journal.Event) {
	id := e.ID
	if id == "" {
		id = r.mentioned(e)
	}
	if id == "" || r.owner[e.Key] == id && e.State != "leaving" {
		return
	}
	if e.State == "leaving" {
		r.remove(e.Key, e.At, false)
		return
	}
	r.owner[e.Key] = id
	if r.here[id]++; r.here[id] > 1 {
		return
	}
	r.returned(id, e.At)
	r.changed(id, e.At)
}

// mentioned finds the instance that a key of a layout that the judge does not know belongs to.
func (r *replay) mentioned(e journal.Event) string {
	for id := range r.service {
		if strings.Contains(e.Key, id) || strings.Contains(e.Text, id) {
			return id
		}
	}
	return ""
}

// returned ends an absence.
func (r *replay) returned(id string, at time.Duration) {
	if since, absent := r.gone[id]; absent && r.alive[id] && !r.down {
		r.f.Absent = max(r.f.Absent, at-since)
	}
	delete(r.gone, id)
}

func (r *replay) remove(key string, at time.Duration, deleted bool) {
	id, known := r.owner[key]
	if !known {
		return
	}
	delete(r.owner, key)
	if r.here[id]--; r.here[id] > 0 {
		return
	}
	if r.alive[id] {
		r.gone[id] = at
		if deleted && !r.lost[id] {
			r.f.Deleted++
			r.lost[id] = true
		}
	}
	r.changed(id, at)
}

func (r *replay) show(e journal.Event) {
	v := r.views[e.By][e.Service]
	if v == nil {
		v = &shown{has: map[string]bool{}}
		if r.views[e.By] == nil {
			r.views[e.By] = map[string]*shown{}
		}
		r.views[e.By][e.Service] = v
		for id := range r.here {
			if r.service[id] == e.Service {
				v.count(r.here[id] > 0, false)
			}
		}
	}
	for _, m := range e.Changed {
		v.set(m.ID, !m.Suspect, r.here[m.ID] > 0)
	}
	for _, id := range e.Left {
		v.set(id, false, r.here[id] > 0)
	}
	r.note(v, e.At)
}

func (v *shown) set(id string, shows, there bool) {
	v.wrong -= differs(v.has[id], there)
	v.has[id] = shows
	v.wrong += differs(shows, there)
}

func (v *shown) count(there, shows bool) { v.wrong += differs(shows, there) }

func differs(a, b bool) int {
	if a != b {
		return 1
	}
	return 0
}

// changed tells the views that an instance has come to etcd, or gone.
func (r *replay) changed(id string, at time.Duration) {
	there := r.here[id] > 0
	for _, services := range r.views {
		if v := services[r.service[id]]; v != nil {
			v.wrong += differs(v.has[id], there) - differs(v.has[id], !there)
			r.note(v, at)
		}
	}
}

// note notes since when a view has been wrong, or that it is right.
func (r *replay) note(v *shown, at time.Duration) {
	switch {
	case v.wrong > 0 && v.since == 0:
		v.since = at
	case v.wrong == 0 && v.since != 0:
		r.f.Wrong = max(r.f.Wrong, at-v.since)
		v.since = 0
	}
}

func (r *replay) end(at time.Duration) {
	for id, since := range r.gone {
		if r.alive[id] {
			r.f.Missing++
			r.f.Absent = max(r.f.Absent, at-since)
		}
	}
	for _, services := range r.views {
		for _, v := range services {
			if v.since != 0 {
				r.f.Wrong, r.f.Forever = max(r.f.Wrong, at-v.since), true
			}
		}
	}
}
