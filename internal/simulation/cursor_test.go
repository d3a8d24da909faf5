package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// cursor is a place in the history: what etcd held at a revision of an era.
type cursor struct {
	era   int
	next  int // of the era's changes
	facts map[string]fact
}

// at returns the place of a revision in an era, at its beginning.
func (o *oracle) at(era int) *cursor {
	return &cursor{era: era, facts: maps.Clone(o.eras[era].base)}
}

// advance goes to a revision, and calls on for every change on the way.
func (c *cursor) advance(o *oracle, revision int64, on func(*change)) {
	changes := o.eras[c.era].changes
	for c.next < len(changes) && changes[c.next].revision <= revision {
		on(&changes[c.next])
		changes[c.next].apply(c.facts)
		c.next++
	}
}

// between calls on for all that happened from one place to a later one: the rest of the old history, all those in
// between, and the beginning of the new.
func (o *oracle) between(from, to *cursor, on func(*change)) {
	for e := from.era; e <= to.era; e++ {
		first, end := 0, len(o.eras[e].changes)
		if e == from.era && e < to.era {
			first = from.next
		}
		if e == to.era {
			end = to.next
		}
		for n := first; n < end; n++ {
			on(&o.eras[e].changes[n])
		}
	}
}

// mismatch says what is different between a view, suspects apart, and what etcd held; "" if nothing is.
func mismatch(v *rollcall.View, facts map[string]fact) string {
	got, want := []string{}, []string{}
	for _, i := range v.Instances {
		if !i.Suspect {
			got = append(got, fmt.Sprint(i.ID, " ", i.Incarnation, " ", i.Weight, "@", i.Revision))
		} else if f, there := facts[i.ID]; there && !f.leaving() {
			return i.ID + " is a suspect, though etcd has it"
		}
	}
	for id, f := range facts {
		if !f.leaving() {
			want = append(want, fmt.Sprint(id, " ", f.Incarnation, " ", f.Weight, "@", f.revision))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return ""
	}
	return fmt.Sprintf("it has\n  %s\netcd had\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
}
