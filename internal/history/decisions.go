package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall"
)

// decision is an override that lies in etcd.
type decision struct {
	rollcall.Override

	ended bool // by itself, and that was told
}

// override tells what an operator decided for an instance.
func (t *tracker) override(e *rollcall.JournalEntry) {
	k := keyOf(e)
	was := t.decided[k]
	switch {
	case e.Deleted:
		delete(t.decided, k)
		if was != nil && !was.ended && t.former == nil {
			t.takenBack(k, was, e)
		}
	case e.After.Override != nil:
		is := &decision{Override: *e.After.Override}
		if was != nil && same(&was.Override, &is.Override) {
			return // signed by who is about to take it back
		}
		t.decided[k] = is
		if t.former == nil {
			t.steered(k, was, is, e.Revision)
		}
	}
}

// same compares what two overrides say.
func same(a, b *rollcall.Override) bool {
	return a.Drain == b.Drain && a.Weight == b.Weight && a.Reason == b.Reason && a.Author == b.Author &&
		a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
}

// steered tells what is otherwise than an operator had decided before.
func (t *tracker) steered(k key, was, is *decision, revision int64) {
	t.dated(revision, is.Since)
	if was == nil || was.ended {
		was = &decision{}
	}
	who := t.subject(k)
	say := func(kind Kind, detail string, s span) {
		t.note(kind, revision, who, causeOf(is.Author, is.Reason, detail), s)
	}
	until := span{until: nanoOf(is.Until)}
	said := false
	if is.Drain != was.Drain {
		said = true
		if is.Drain {
			say(Drained, "", until)
		} else {
			say(Undone, "drain", span{since: nanoOf(was.Since)})
		}
	}
	if is.Weight != was.Weight {
		said = true
		if is.Weight > 0 {
			say(Weighed, t.weighed(k, was, is), until)
		} else {
			say(Undone, fmt.Sprintf("weight %d", was.Weight), span{since: nanoOf(was.Since)})
		}
	}
	if said {
		return
	}
	kind := Weighed
	if is.Drain {
		kind = Drained
	}
	detail := "said again"
	if !is.Until.Equal(was.Until) {
		detail = changed("until", clock(was.Until), clock(is.Until))
	}
	say(kind, detail, until)
}

// weighed says which weight became which.
func (t *tracker) weighed(k key, was, is *decision) string {
	before := was.Weight
	if p := t.here[k]; before == 0 && p != nil {
		before = p.weight
	}
	if before == 0 {
		return fmt.Sprintf("weight %d", is.Weight)
	}
	return fmt.Sprintf("weight %d → %d", before, is.Weight)
}

func clock(at time.Time) string {
	if at.IsZero() {
		return "taken back"
	}
	return at.UTC().Format(time.RFC3339)
}

// takenBack tells that an override's key is gone. One that nobody signed and whose end has passed has ended by itself.
func (t *tracker) takenBack(k key, was *decision, e *rollcall.JournalEntry) {
	by := e.Before.By
	s := span{since: nanoOf(was.Since), until: nanoOf(was.Until)}
	if by == (rollcall.By{}) && s.until != 0 && s.until <= t.h.now().UnixNano() {
		t.note(Ended, e.Revision, t.subject(k), causeOf("", "", was.what()), s)
		return
	}
	t.note(Undone, e.Revision, t.subject(k), causeOf(by.Author, by.Reason, was.what()), span{since: s.since})
}

// what says what an override was, in a few words.
func (d *decision) what() string {
	var words []string
	if d.Drain {
		words = append(words, "drain")
	}
	if d.Weight > 0 {
		words = append(words, fmt.Sprintf("weight %d", d.Weight))
	}
	return strings.Join(words, ", ")
}

// endDecisions tells which overrides have ended by now: readers of etcd go by that, too, and the key goes later. Silently, when it is the
// first time that it is known when now is: they may have ended before the history began.
func (t *tracker) endDecisions(silently bool) {
	if t.former != nil {
		return
	}
	var ended []key
	for k, d := range t.decided {
		if until := nanoOf(d.Until); until != 0 && until <= t.lower && !d.ended {
			ended = append(ended, k)
		}
	}
	slices.SortFunc(ended, func(a, b key) int {
		return cmp.Or(t.decided[a].Until.Compare(t.decided[b].Until), strings.Compare(a.id, b.id))
	})
	for _, k := range ended {
		d := t.decided[k]
		d.ended = true
		if !silently {
			t.h.add(record{
				kind: Ended, revision: t.revision, who: t.subject(k), why: causeOf("", "", d.what()),
				since: nanoOf(d.Since), until: nanoOf(d.Until), at: nanoOf(d.Until), exact: true,
			})
		}
	}
}

// subject returns whom a decision is about, as far as that is known.
func (t *tracker) subject(k key) *subject {
	if p := t.here[k]; p != nil {
		return p.who
	}
	return subjectOf(k.service.Value(), k.id, nil)
}

// policy tells what an operator decided for all callers.
func (t *tracker) policy(e *rollcall.JournalEntry) {
	was, is := t.policies[e.Service], e.After.Policy
	switch {
	case e.Deleted:
		delete(t.policies, e.Service)
		if was != nil && t.former == nil {
			by := e.Before.By
			t.note(PolicyDeleted, e.Revision, subjectOf(e.Service, "", nil), causeOf(by.Author, by.Reason, ""), span{since: nanoOf(was.Since)})
		}
	case is != nil:
		t.policies[e.Service] = is
		if t.former == nil {
			t.ruled(e.Service, was, is, e.Revision)
		}
	}
}

// ruled tells that a policy says something else than before.
func (t *tracker) ruled(service string, was, is *rollcall.Policy, revision int64) {
	detail, differ := policyDifference(was, is)
	if !differ {
		return
	}
	t.dated(revision, is.Since)
	t.note(PolicySet, revision, subjectOf(service, "", nil), causeOf(is.Author, is.Reason, detail), span{})
}

// policyDifference names the fields in which two policies differ.
func policyDifference(was, is *rollcall.Policy) (fields string, differ bool) {
	before, after := fieldsOf(was), fieldsOf(is)
	names := map[string]bool{}
	for _, all := range []map[string]json.RawMessage{before, after} {
		for name := range all {
			if string(before[name]) != string(after[name]) {
				names[name] = true
			}
		}
	}
	differ = len(names) > 0
	for _, name := range []string{"author", "reason", "since"} {
		delete(names, name)
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", "), differ || was == nil
}

func fieldsOf(p *rollcall.Policy) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if p == nil {
		return nil
	}
	if text, err := json.Marshal(p); err == nil {
		_ = json.Unmarshal(text, &fields) // an object
	}
	return fields
}
