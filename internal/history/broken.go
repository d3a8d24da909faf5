package history

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall"
)

// former is what was known when etcd's history broke, by a wipe or a restore. What is told next may be the old history once more, which the
// restored store remembers, and is followed by what is new. Until all of it was told only that is told on which is new for certain; then
// what is there is compared with what was.
type former struct {
	here     map[key]*presence
	decided  map[key]*decision
	policies map[string]*rollcall.Policy
	known    map[string]bool // the incarnations that were ever told of
	from, to int64           // the revisions that are still remembered
}

const lostWithHistory = "lost with etcd's history"

// broke notes that etcd's history broke.
func (t *tracker) broke(e *rollcall.JournalEntry) {
	t.decide()
	f := t.former
	if f == nil {
		t.note(EtcdReset, e.Revision, subjectOf("", "", nil), nil, span{})
		t.h.logger.Warn("etcd's history broke", "revision", e.Revision)
		f = &former{here: t.here, decided: t.decided, policies: t.policies, to: t.revision}
		maps.Copy(f.here, t.awaiting)
		maps.DeleteFunc(f.here, func(_ key, p *presence) bool { return p.leaving })
		maps.DeleteFunc(f.decided, func(_ key, d *decision) bool { return d.ended })
		f.known, f.from = t.h.incarnations()
		for _, p := range f.here {
			f.known[p.who.incarnation] = true
		}
	}
	t.former, t.awaiting = f, map[key]*presence{}
}

// tellsEnd reports whether an instance's goodbye is news.
func (t *tracker) tellsEnd(k key, p *presence) bool {
	if t.former == nil || p.told {
		return true
	}
	was := t.former.here[k]
	if was == nil || was.who.incarnation != p.who.incarnation {
		return false // it is of the old history
	}
	delete(t.former.here, k)
	return true
}

// putAnew is told that an instance registered, while it is open whether that is of the old history.
func (t *tracker) putAnew(k key, old, p *presence, e *rollcall.JournalEntry) {
	f := t.former
	if f.known[p.who.incarnation] || e.Revision < f.from && e.Revision <= f.to {
		return
	}
	p.told = true
	switch was := f.here[k]; {
	case old != nil && old.told && !old.leaving:
		t.came(Replaced, old, p, e)
	case was != nil:
		delete(f.here, k)
		t.came(Replaced, was, p, e)
	default:
		t.came(Joined, nil, p, e)
	}
}

// keeps reports whether the store has kept an instance's key, be it written again since: one that has nothing of the old history may have
// another one of the same revision, but not under the same lease.
func (f *former) keeps(k key, p *presence) bool {
	was := f.here[k]
	return was != nil && was.who.incarnation == p.who.incarnation && was.created == p.created && was.lease == p.lease
}

// rebase compares what is there, now that all of it was told, with what was there before etcd's history broke.
func (t *tracker) rebase() {
	f := t.former
	if f == nil {
		return
	}
	t.former = nil
	for _, k := range slices.SortedFunc(maps.Keys(t.here), compareKeys) {
		p := t.here[k]
		if p.told || p.leaving {
			p.told = false
			continue
		}
		was := f.here[k]
		switch {
		case was != nil && was.who.incarnation == p.who.incarnation:
			delete(f.here, k)
			if !p.kept {
				t.note(Returned, p.created, p.who, nil, span{since: p.registered})
			}
		case f.known[p.who.incarnation]:
			t.note(Returned, p.created, p.who, causeOf("", "", "brought back with etcd's history"), span{since: p.registered})
		case was != nil:
			delete(f.here, k)
			t.note(Replaced, p.created, p.who, nil, span{since: was.registered})
		default:
			t.note(Joined, p.created, p.who, nil, span{})
		}
	}
	t.awaiting = f.here
	t.rebaseDecisions(f)
}

func compareKeys(a, b key) int {
	if a.service != b.service {
		return strings.Compare(a.service.Value(), b.service.Value())
	}
	return strings.Compare(a.id, b.id)
}

func (t *tracker) rebaseDecisions(f *former) {
	for _, k := range slices.SortedFunc(maps.Keys(f.decided), compareKeys) {
		if was := f.decided[k]; t.decided[k] == nil {
			t.note(Ended, t.revision, t.subject(k), causeOf("", "", was.what()+", "+lostWithHistory), span{since: nanoOf(was.Since), until: nanoOf(was.Until)})
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.decided), compareKeys) {
		if was, is := f.decided[k], t.decided[k]; was == nil || !same(&was.Override, &is.Override) {
			t.steered(k, was, is, is.Revision)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(f.policies)) {
		if t.policies[service] == nil {
			t.note(PolicyDeleted, t.revision, subjectOf(service, "", nil), causeOf("", "", lostWithHistory), span{since: nanoOf(f.policies[service].Since)})
		}
	}
	for _, service := range slices.Sorted(maps.Keys(t.policies)) {
		t.ruled(service, f.policies[service], t.policies[service], t.policies[service].Revision)
	}
}

// missed tells of those who have not come back and whom the registry has given up.
func (t *tracker) missed() {
	if len(t.awaiting) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, time.Second) // it answers from memory
	defer cancel()
	views := map[string]*rollcall.View{}
	for _, k := range slices.SortedFunc(maps.Keys(t.awaiting), compareKeys) {
		service := k.service.Value()
		v, asked := views[service]
		if !asked {
			var err error
			if v, err = t.h.reg.Lookup(ctx, service); err != nil {
				v = nil
			}
			views[service] = v
		}
		if v == nil || !v.StaleSince.IsZero() || v.Revision > t.revision || slices.ContainsFunc(v.Instances, func(i *rollcall.Instance) bool { return i.ID == k.id }) {
			continue
		}
		p := t.awaiting[k]
		delete(t.awaiting, k)
		t.gone.add(k, p.who.incarnation)
		t.note(Expired, t.revision, p.who, causeOf("", "etcd's history broke, and it did not come back", ""), span{since: p.registered})
	}
}
