package simulation

import (
	"maps"
	"time"
)

const (
	silence   = 10 * time.Second // how old news may be in a view that does not say that it is stale
	converged = 8 * time.Second  // after the last fault
	visible   = time.Second      // in a world without faults
)

// judgeNow holds the newest view against the present.
func (r *reader) judgeNow() {
	v, calm := r.last, r.w.calm()
	if v.StaleSince.IsZero() {
		if missing := r.missing(v, silence); missing != "" {
			r.w.fail("no silence", "the view of revision %d is not what etcd has had for %v, and says nothing: %s", v.Revision, silence, missing)
		}
	}
	if dark := r.w.darkSince; !dark.IsZero() && time.Since(dark) > silence && v.StaleSince.IsZero() {
		r.w.fail("no silence", "nothing has been heard of etcd for %v, and the view says nothing", time.Since(dark))
	}
	if calm < converged+r.w.slack() {
		return
	}
	if !v.StaleSince.IsZero() {
		r.w.fail("convergence", "the view is stale since %.3fs, though there has been no fault for %v", v.StaleSince.Sub(r.w.began).Seconds(), calm)
	}
	if missing := r.missing(v, visible); missing != "" {
		r.w.fail("convergence", "there has been no fault for %v: %s", calm, missing)
	}
}

// slack is what passwords cost: a refusal is not repeated at once.
func (w *world) slack() time.Duration {
	if w.auth {
		return 3 * time.Second
	}
	return 0
}

// missing says what a view is lacking that etcd has had for some time; "" for nothing.
func (r *reader) missing(v given, age time.Duration) string {
	o := r.w.oracle
	limit := time.Now().Add(-age)
	c := &cursor{era: r.cursor.era, next: r.cursor.next, facts: r.cursor.facts}
	for e := c.era + 1; e < len(o.eras); e++ {
		if o.eras[e].began.Before(limit) {
			c = o.at(e)
		}
	}
	changes := o.eras[c.era].changes
	if c.era == r.cursor.era && (c.next == len(changes) || !changes[c.next].at.Before(limit)) {
		return ""
	}
	c.facts = maps.Clone(c.facts)
	wrong := ""
	if c.next == len(changes) || !changes[c.next].at.Before(limit) {
		wrong = mismatch(v.View, c.facts)
		if wrong == "" {
			return ""
		}
	}
	for ; c.next < len(changes); c.next++ {
		changes[c.next].apply(c.facts)
		if c.next+1 < len(changes) && changes[c.next+1].at.Before(limit) {
			continue // older than it may be
		}
		if wrong = mismatch(v.View, c.facts); wrong == "" {
			return ""
		}
	}
	return wrong
}
