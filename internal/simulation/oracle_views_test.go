package simulation

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rollcall-io/rollcall"
)

// judge holds what a reader was given since, and what it has now, against the invariants.
func (r *reader) judge() {
	views, err := r.take()
	if err != nil {
		r.w.fail("no loss", "Next: %v", err)
	}
	if r.w.oracle.blind {
		r.blindly(views)
		return
	}
	for _, v := range views {
		if r.w.broken != nil {
			return
		}
		r.judgeView(v)
		r.last = v
	}
	if r.last.View != nil && !r.slow && r.w.broken == nil {
		r.judgeNow()
	}
}

// blindly takes views as they are, while it is known that events were lost.
func (r *reader) blindly(views []given) {
	for _, v := range views {
		r.judgeUpdates(v)
		r.last = v
		r.cursor.advance(r.w.oracle, v.Revision, func(*change) {})
	}
}

func (r *reader) judgeView(v given) {
	o := r.w.oracle
	r.judgeUpdates(v)
	if r.cursor == nil {
		r.cursor, r.gone = o.at(0), map[string]bool{}
	}
	gone := maps.Clone(r.gone) // what was deleted since the last view, or before and is a suspect still
	note := func(c *change) {
		for _, id := range c.deletes {
			gone[id], r.gone[id] = true, true
		}
		for id, f := range c.puts {
			delete(r.gone, id)
			if f.leaving() {
				gone[id], r.gone[id] = true, true
			}
		}
	}
	if v.Reset {
		r.judgeReset(v, note)
	} else {
		if last := r.last.View; last != nil && v.Revision < last.Revision {
			r.w.fail("order", "revision %d came after %d", v.Revision, last.Revision)
		}
		r.cursor.advance(o, v.Revision, note)
		if wrong := mismatch(v.View, r.cursor.facts); wrong != "" {
			r.w.fail("no false growth", "view of revision %d, era %d (now %d), at %.3fs: %s",
				v.Revision, r.cursor.era, len(o.eras)-1, v.at.Sub(r.w.began).Seconds(), wrong)
		}
	}
	r.judgeLosses(v, gone)
}

// judgeReset finds the history that a view marked Reset belongs to: it must match one that began since the last.
func (r *reader) judgeReset(v given, note func(*change)) {
	o := r.w.oracle
	wrong := "no history has broken"
	for e := len(o.eras) - 1; e >= r.cursor.era; e-- {
		if e == r.cursor.era && (e == 0 || v.at.Sub(r.reset) > r.patience()) {
			continue // that was told already
		}
		if v.Revision < o.eras[e].revision {
			wrong = fmt.Sprintf("era %d begins at revision %d", e, o.eras[e].revision)
			continue
		}
		c := o.at(e)
		c.advance(o, v.Revision, func(*change) {})
		if wrong = mismatch(v.View, c.facts); wrong == "" {
			o.between(r.cursor, c, note)
			r.cursor, r.reset = c, v.at
			return
		}
	}
	r.w.fail("no false growth", "view of revision %d, marked Reset, at %.3fs: %s", v.Revision, v.at.Sub(r.w.began).Seconds(), wrong)
}

// patience is how long after a reader was told that a history broke it may be told so again.
func (r *reader) patience() time.Duration {
	if r.slow {
		return silence + slowest
	}
	return silence
}

// judgeUpdates applies a view's updates to the view before, and holds the revisions of its keys against those before.
func (r *reader) judgeUpdates(v given) {
	was := map[string]*rollcall.Instance{}
	if r.last.View != nil {
		for _, i := range r.last.Instances {
			was[i.ID] = i
		}
	}
	for _, u := range v.Updates {
		id := u.Instance.ID
		before, there := was[id]
		switch {
		case u.Op == rollcall.Add && there, u.Op != rollcall.Add && !there:
			r.w.fail("no loss", "%v of %s, which was there: %v", u.Op, id, there)
		case u.Op == rollcall.Delete:
			delete(was, id)
			continue
		case there && !v.Reset && !before.Suspect && u.Instance.Revision < before.Revision: // a suspect may be of a history that broke
			r.w.fail("order", "%s at revision %d after %d, in the view of revision %d after %d, slow %v", id, u.Instance.Revision, before.Revision, v.Revision, r.last.Revision, r.slow)
		}
		was[id] = u.Instance
	}
	var now []*rollcall.Instance
	for _, id := range sortedKeys(was) {
		now = append(now, was[id])
	}
	if !slices.EqualFunc(now, v.Instances, same) {
		r.w.fail("no loss", "updates %v do not lead to the view of revision %d: %v", v.Updates, v.Revision, v.Instances)
	}
}

func same(a, b *rollcall.Instance) bool {
	return a.ID == b.ID && a.Revision == b.Revision && a.Incarnation == b.Incarnation && a.Suspect == b.Suspect && a.Weight == b.Weight
}

// judgeLosses holds the instances that a view has no longer against those that live. Gone are those that history says
// were deleted meanwhile.
func (r *reader) judgeLosses(v given, gone map[string]bool) {
	if r.last.View == nil {
		return
	}
	for _, i := range r.last.Instances {
		if _, still := v.Get(i.ID); still || gone[i.ID] || !r.w.lived(i.ID, i.Incarnation) {
			continue
		}
		r.w.fail("no shrink", "at %.3fs %s is in the view of revision %d no more, but lives, and nobody deleted it",
			v.at.Sub(r.w.began).Seconds(), i.ID, v.Revision)
	}
}

// lived reports whether an incarnation of an instance lives now, by the word of whoever registered it.
func (w *world) lived(id, incarnation string) bool {
	for _, p := range w.processes {
		if i := p.instances[id]; i != nil && i.incarnation == incarnation {
			return true
		}
	}
	for _, r := range w.registrars {
		if s := r.live[id]; s != nil {
			mine, _ := s.Wanted()
			return mine == incarnation
		}
	}
	return false
}
