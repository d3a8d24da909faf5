package history

import (
	"time"

	"github.com/rollcall-io/rollcall"
)

// instance tells what became of an instance.
func (t *tracker) instance(e *rollcall.JournalEntry) {
	k := keyOf(e)
	p := t.here[k]
	switch {
	case e.Deleted:
		if p == nil {
			return
		}
		delete(t.here, k)
		t.unlease(p.lease)
		if !p.leaving {
			t.vanish(k, p, e.Revision)
		}
	case e.After.Instance == nil: // it cannot be read: the last good value stays
	case e.After.Leaving:
		if p != nil && !p.leaving {
			p.leaving = true
			t.farewell(k, p, e)
		}
	default:
		t.put(k, p, e)
	}
}

// farewell tells that an instance said goodbye, or that somebody said it for it.
func (t *tracker) farewell(k key, p *presence, e *rollcall.JournalEntry) {
	if !t.tellsEnd(k, p) {
		return
	}
	kind, by := Left, e.After.By
	if by != (rollcall.By{}) {
		kind = Removed
	}
	t.gone.add(k, p.who.incarnation)
	t.note(kind, e.Revision, p.who, causeOf(by.Author, by.Reason, ""), span{since: p.registered})
}

// put tells that an instance registered, or says something else.
func (t *tracker) put(k key, old *presence, e *rollcall.JournalEntry) {
	i := e.After.Instance
	p := presenceOf(e)
	if old != nil {
		t.unlease(old.lease)
	}
	t.leases[p.lease]++
	t.here[k] = p
	p.kept = t.former != nil && t.former.keeps(k, p)
	switch {
	case old != nil && !old.leaving && old.who.incarnation == i.Incarnation:
		p.told, p.kept = old.told, p.kept || old.kept
		t.repeated(old, p, e)
	case t.former != nil:
		t.putAnew(k, old, p, e)
	case t.returns(k, old, i.Incarnation):
		t.beats(e, p, false)
		t.note(Returned, e.Revision, p.who, nil, span{since: p.registered})
	case t.awaiting[k] != nil:
		was := t.awaiting[k]
		delete(t.awaiting, k)
		t.came(Replaced, was, p, e)
	case old != nil && !old.leaving:
		t.came(Replaced, old, p, e)
	default:
		t.came(Joined, nil, p, e)
	}
}

// returns reports whether an incarnation is back that had gone without a word.
func (t *tracker) returns(k key, old *presence, incarnation string) bool {
	if was := t.awaiting[k]; was != nil && was.who.incarnation == incarnation {
		delete(t.awaiting, k)
		return true
	}
	return (old == nil || old.leaving) && t.gone.back(k, incarnation)
}

// came tells that an instance registered, be it in the place of another one.
func (t *tracker) came(kind Kind, old, p *presence, e *rollcall.JournalEntry) {
	t.beats(e, p, true)
	s, detail := span{}, ""
	if old != nil {
		s.since = old.registered
		if old.who.addr != p.who.addr {
			detail = changed("addr", old.who.addr, p.who.addr)
		}
	}
	t.note(kind, e.Revision, p.who, causeOf("", "", detail), s)
}

// repeated tells what the same incarnation says otherwise than before.
func (t *tracker) repeated(old, p *presence, e *rollcall.JournalEntry) {
	before, after := e.Before.Instance, e.After.Instance
	if *old.who == *p.who {
		p.who = old.who // once is enough
	}
	t.beats(e, p, false)
	if before == nil || t.former != nil && !p.told {
		return
	}
	if before.State != after.State {
		kind := Undone
		if after.State == rollcall.StateDraining {
			kind = Drained
		}
		t.note(kind, e.Revision, p.who, nil, span{})
	}
	if detail := difference(before, after, e.Service == serverService); detail != "" {
		t.note(Changed, e.Revision, p.who, causeOf("", "", detail), span{})
	}
}

// beats takes the time from what is written: a server's beat, or when a registration began.
func (t *tracker) beats(e *rollcall.JournalEntry, p *presence, registers bool) {
	switch {
	case p.beat != 0 && (e.Before.Instance == nil || beatOf(e.Service, e.Before.Instance) != p.beat): // not written again, later
		t.dated(e.Revision, timeOf(p.beat))
	case registers:
		t.dated(e.Revision, timeOf(p.registered))
	}
}

// beatOf returns when a server wrote what it says of itself; 0: it does not say.
func beatOf(service string, i *rollcall.Instance) int64 {
	if service != serverService || i.Metadata[beat] == "" {
		return 0
	}
	at, err := time.Parse(time.RFC3339Nano, i.Metadata[beat])
	if err != nil {
		return 0
	}
	return nanoOf(at)
}

func (t *tracker) unlease(id int64) {
	if t.leases[id]--; t.leases[id] <= 0 {
		delete(t.leases, id)
	}
}
