package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	ruleFaithful  = "a view, but for its suspects, is exactly what etcd held at the view's revision"
	ruleExplained = "the updates of a view are what has changed in it"
	ruleUnmarked  = "revisions of a watcher never go back, and its store does not change, but in a view that is a reset"
	ruleSize      = "a view has as many instances as were told of it"
)

// detailed is how many violations of an invariant are told in full: finding out what differs costs a walk over the record.
const detailed = 2 * printed

// checkFaithful: I8 and I11, and of I10 that no watcher goes back from a store to the one before. Which store a view is of
// it does not say: it is one of those that it may be of, given the views before it.
func checkFaithful(r *run) {
	told := 0
	for _, w := range r.watchers {
		r.checkMembers(w)
		maybe := r.store.epochs // those that the latest view may be of, in order
		for n := range w.views {
			v := &w.views[n]
			if v.event.Reset && len(r.rewrites) == 0 {
				r.reportView("I10", ruleUnmarked, w, v, "it is a reset, and the store has been one and the same")
			}
			candidates := maybe
			if v.event.Reset {
				candidates = r.store.epochs[maybe[0].number:]
			}
			fitting := r.fitting(w, v, candidates)
			if len(fitting) == 0 && !v.event.Reset {
				if fitting = r.fitting(w, v, r.store.epochs[maybe[0].number:]); len(fitting) > 0 {
					r.reportView("I10", ruleUnmarked, w, v, fmt.Sprintf("it is of the store's epoch %d, that before was of epoch %d, and it is no reset", fitting[0].number, maybe[0].number))
				}
			}
			if len(fitting) > 0 {
				maybe = fitting
				continue
			}
			detail := "it is not what etcd held then"
			if told++; told <= detailed {
				detail = r.mismatch(w, v, candidates)
			}
			r.reportView("I8", ruleFaithful, w, v, detail)
		}
	}
}

func (r *run) fitting(w *watcher, v *view, candidates []*epoch) []*epoch {
	var out []*epoch
	for _, ep := range candidates {
		if r.fits(w, v, ep) {
			out = append(out, ep)
		}
	}
	return out
}

// fits reports whether a view may be of an epoch.
func (r *run) fits(w *watcher, v *view, ep *epoch) bool {
	revision := v.event.Revision
	if revision < ep.floor {
		return false
	}
	if revision > max(ep.head, ep.synced) && r.unrecorded(ep, v.event) {
		return true
	}
	c := ep.at(w.service, revision)
	return c.hash == v.hash && c.count == v.count
}

// unrecorded reports whether the store may have had a revision, at the time of a view, of which the record does not know.
func (r *run) unrecorded(ep *epoch, e *journal.Event) bool {
	if ep.syncedAt >= e.At {
		return false
	}
	if ep.number+1 == len(r.store.epochs) {
		return true
	}
	return e.At < r.store.epochs[ep.number+1].began+settling
}

func (r *run) reportView(invariant, rule string, w *watcher, v *view, detail string) {
	r.report(Violation{
		Invariant: invariant, Rule: rule, At: v.event.At, Service: w.service, Process: w.life.process,
		Detail: fmt.Sprintf("view of revision %d: %s", v.event.Revision, detail),
	})
}

// mismatch tells how a view differs from what the store held in the latest epoch that it may be of.
func (r *run) mismatch(w *watcher, v *view, candidates []*epoch) string {
	ep := candidates[len(candidates)-1]
	held := map[string]string{}
	for k := range r.store.keys {
		if k.service != w.service || r.store.odd[k] {
			continue
		}
		if c, found := r.store.lastChange(k, ep.number, v.event.Revision); found && c.there {
			held[k.id] = memberText(journal.Member{ID: k.id, Incarnation: c.incarnation, State: c.state})
		}
	}
	var differences []string
	for id, all := range w.shown {
		m, there := w.showed(id, v.event.At)
		text := memberText(m)
		switch was, found := held[id]; {
		case len(all) == 0 || !there || m.Suspect || r.store.odd[slot{w.service, id}]:
			continue
		case !found:
			differences = append(differences, "etcd did not have "+text)
		case was != text:
			differences = append(differences, fmt.Sprintf("etcd had %s, the view has %s", was, text))
		}
		delete(held, id)
	}
	for _, text := range held {
		differences = append(differences, "the view lacks "+text)
	}
	slices.Sort(differences)
	if len(differences) == 0 {
		return fmt.Sprintf("etcd had not reached it: the record ends at revision %d", max(ep.head, ep.synced))
	}
	const most = 6
	if n := len(differences); n > most {
		differences = append(differences[:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(differences, "; ")
}

// checkMembers: what is said of each view itself, and that nobody is in one who never was in etcd.
func (r *run) checkMembers(w *watcher) {
	for n := range w.views {
		v := &w.views[n]
		if v.event.Err != "" {
			r.reportView("I11", ruleExplained, w, v, v.event.Err)
		}
		if v.event.Size != v.size {
			r.reportView("I10", ruleSize, w, v, fmt.Sprintf("it has %d instances, and %d by what was told to have changed", v.event.Size, v.size))
		}
		for _, m := range v.event.Changed {
			if !r.store.ever[slot{w.service, m.ID}][m.Incarnation] && !r.unrecorded(r.store.last(), v.event) {
				r.report(Violation{
					Invariant: "I8", Rule: ruleFaithful, At: v.event.At, Service: w.service, ID: m.ID, Process: w.life.process,
					Detail: fmt.Sprintf("view of revision %d: %s never was in etcd", v.event.Revision, memberText(m)),
				})
			}
		}
	}
}
