package rollcall

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Op is the kind of an [Update].
type Op uint8

// The kinds of updates.
const (
	Add    Op = iota + 1 // an instance joined
	Modify               // an instance changed, or was replaced by another incarnation on the same id
	Delete               // an instance is gone
)

func (o Op) String() string {
	switch o {
	case Add:
		return "add"
	case Modify:
		return "modify"
	case Delete:
		return "delete"
	}
	return "unknown"
}

// Update is one change of one instance between two views.
type Update struct {
	Op       Op        // what happened
	Instance *Instance // as it is now; for Delete, as it was last known
	Prev     *Instance // as it was in the view before; nil for Add. Modify with another Incarnation is a restart

	// Expired is set on a Delete without a goodbye: the lease ran out, or somebody else removed the key. Not set, the
	// instance said that it was leaving, or the watcher was too far behind, by dozens of views or a thousand updates, to be told.
	Expired bool
}

// View is the complete set of a service's instances at a revision. It is immutable: views share their instances and
// slices with one another and with every other reader, who must not change them.
type View struct {
	Service   string      // its name
	Revision  int64       // etcd's revision as of which the view is complete
	Instances []*Instance // all of them, sorted by ID

	// Updates is what changed since the view that the same watcher returned before, merged: one update per instance,
	// sorted by ID. In a watcher's first view it adds every instance. A view of Lookup has none.
	Updates []Update

	// Policy is what an operator decided for all callers of the service; nil: nothing. It is shared and must not be changed.
	Policy *Policy

	// StaleSince is when etcd went out of reach: the view is last-known-good since then. Zero while the view is current.
	StaleSince time.Time

	// StaleErr is why the view is stale: what the last try met when it became so. Nil while the view is current.
	StaleErr error

	// Reset says that etcd's history broke, as by a wipe or a restore: the revision may be lower than before.
	Reset bool

	era int // counts the breaks of etcd's history: equal revisions of two eras have nothing in common
}

// Get returns the instance with the given id.
func (v *View) Get(id string) (*Instance, bool) {
	n, found := slices.BinarySearchFunc(v.Instances, id, compareID)
	if !found {
		return nil, false
	}
	return v.Instances[n], true
}

// Ready iterates over the instances that are to be called: those that serve, see [Instance.Serving], and are no suspects, or, when there is
// none, all there are.
func (v *View) Ready() iter.Seq[*Instance] {
	ready := func(i *Instance) bool { return i.Serving() && !i.Suspect }
	return func(yield func(*Instance) bool) {
		all := !slices.ContainsFunc(v.Instances, ready)
		for _, i := range v.Instances {
			if (all || ready(i)) && !yield(i) {
				return
			}
		}
	}
}

// Since returns what changed from prev to v, sorted by ID. A nil prev stands for the empty view. The deletes among the
// changes do not tell goodbyes from expiries: two views do not know, only [View.Updates] does.
func (v *View) Since(prev *View) []Update {
	if prev == nil {
		prev = &View{}
	}
	return diff(prev.Instances, v.Instances, true)
}

func compareID(i *Instance, id string) int { return strings.Compare(i.ID, id) }

// diff walks two slices sorted by id. In another era even what looks the same is another write. What the two share, mostly
// nearly all, are the same pointers: those are passed over without a look at what they point to.
func diff(from, to []*Instance, sameEra bool) []Update {
	var updates []Update
	for len(from) > 0 || len(to) > 0 {
		switch {
		case len(from) > 0 && len(to) > 0 && from[0] == to[0]:
			from, to = from[1:], to[1:]
		case len(from) == 0 || len(to) > 0 && to[0].ID < from[0].ID:
			updates = append(updates, Update{Op: Add, Instance: to[0]})
			to = to[1:]
		case len(to) == 0 || from[0].ID < to[0].ID:
			updates = append(updates, Update{Op: Delete, Instance: from[0], Prev: from[0]})
			from = from[1:]
		default:
			if !sameEra || !from[0].sameWrite(to[0]) || from[0].Suspect != to[0].Suspect || !from[0].Override.equal(to[0].Override) || !sameHealth(from[0].Health, to[0].Health) {
				updates = append(updates, Update{Op: Modify, Instance: to[0], Prev: from[0]})
			}
			from, to = from[1:], to[1:]
		}
	}
	return updates
}
