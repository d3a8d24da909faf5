package history

import (
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall"
)

// Moment is a point in etcd's history, as precisely as it is known.
type Moment struct {
	Revision int64
	Time     time.Time     // the latest that it can have been; zero: nobody knows
	Within   time.Duration // by how much that may be too late
}

// Moment returns the revision as of which etcd was at a time, for [rollcall.Registry.LookupAt]. Its Time is when that revision was known to be
// the newest, which is at most t. What nobody knows, because it is too long ago, lies ahead, or was before etcd's history broke, is a
// [rollcall.ErrRevision] with the reason.
func (h *History) Moment(t time.Time) (Moment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	best, known := h.marks.until(t.UnixNano())
	for seq := h.events.settled - 1; seq >= h.events.first; seq-- {
		e := h.events.at(seq)
		if e.at <= best.at || timeOf(e.at).Before(h.broke) {
			break
		}
		if e.exact && e.at <= t.UnixNano() && e.revision > best.revision {
			best, known = mark{e.revision, e.at}, true
		}
	}
	switch {
	case t.After(h.now().Add(time.Second)):
		return Moment{}, fmt.Errorf("%w: %s lies ahead", rollcall.ErrRevision, said(t))
	case known:
		return Moment{Revision: best.revision, Time: timeOf(best.at)}, nil
	case !h.broke.IsZero() && t.Before(h.broke):
		return Moment{}, fmt.Errorf("%w: %s is before etcd's history broke, at %s", rollcall.ErrRevision, said(t), said(h.broke))
	case len(h.marks.all) == 0:
		return Moment{}, fmt.Errorf("%w: nobody knows when any revision was", rollcall.ErrRevision)
	}
	return Moment{}, fmt.Errorf("%w: of what was before %s nobody knows when it was", rollcall.ErrRevision, said(timeOf(h.marks.all[0].at)))
}

func said(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// TimeOf returns when a revision was.
func (h *History) TimeOf(revision int64) Moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := Moment{Revision: revision}
	before, from := h.marks.around(revision)
	switch {
	case from.revision == 0:
	case from.revision == revision || before.revision == 0:
		m.Time = timeOf(from.at)
	default:
		m.Time, m.Within = timeOf(from.at), time.Duration(from.at-before.at)
	}
	if before.revision == 0 && from.revision != revision {
		m.Time = time.Time{}
	}
	return m
}
