package history

import (
	"time"

	"github.com/rollcall-io/rollcall"
)

// finding is what a check said last of an instance.
type finding struct {
	of      string // the incarnation
	failing bool
	lease   int64 // 0: its key went with its server, and the next one will say how it is
	since   time.Time
}

// health tells what a check found.
func (t *tracker) health(e *rollcall.JournalEntry) {
	k := keyOf(e)
	was := t.checked[k]
	if was != nil {
		t.unlease(was.lease)
	}
	switch h := e.After.Health; {
	case e.Deleted && was != nil:
		gone := *was
		was.lease = 0
		if p := t.here[k]; p == nil || p.who.incarnation != was.of || !was.failing {
			delete(t.checked, k)
			return
		}
		if t.former == nil {
			t.ask(vanished{key: k, revision: e.Revision, lease: gone.lease, checked: was})
		}
	case h != nil:
		is := &finding{of: e.After.Of, failing: h.Failing, lease: e.After.Lease, since: h.Since}
		t.leases[is.lease]++
		t.checked[k] = is
		if t.former == nil {
			t.found(k, was, is, h, e.Revision)
		}
	}
}

// found tells how an instance is, if that is news.
func (t *tracker) found(k key, was, is *finding, h *rollcall.Health, revision int64) {
	failed := was != nil && was.failing && was.of == is.of
	switch {
	case is.failing && !failed:
		t.note(Unhealthy, revision, t.subject(k), causeOf(h.Checker, h.Detail, ""), span{})
	case !is.failing && failed:
		t.note(Healthy, revision, t.subject(k), causeOf(h.Checker, h.Detail, ""), span{since: nanoOf(was.since)})
	}
}

// checkEnded is told that a finding's key is gone. When its lease lives it was taken back: all is well. Else the server is gone that had it.
func (t *tracker) checkEnded(v vanished, leaseLives bool) {
	if !leaseLives || t.checked[v.key] != v.checked {
		return
	}
	delete(t.checked, v.key)
	t.note(Healthy, v.revision, t.subject(v.key), nil, span{since: nanoOf(v.checked.since)})
}
