package endpoints

import (
	"cmp"
	"slices"

	"github.com/rollcall-io/rollcall"
)

// Reducer makes views of one service, each of the one before it and of what changed since: beyond that it copies
// pointers. It is for one goroutine.
type Reducer struct {
	// Target is what its views are named by; the service's name unless it is set before the first Apply.
	Target string

	// Policy is what the next view has. Another pointer is a change.
	Policy *rollcall.Policy

	// Linked says that the next views go to policies that have joined a link: their endpoints are listed only if somebody asks, and then anew.
	// Otherwise they are those of the view before, as far as nothing changed.
	Linked bool

	service, zone string
	keep          func(*rollcall.Instance) bool
	identity      *identity

	view    *View // the newest; nil before the first
	serving int   // how many of its instances serve
	claims  claims
}

// NewReducer returns a reducer for a caller in the given zone. It leaves out the instances that keep does not keep; nil
// keeps all.
func NewReducer(service, zone string, keep func(*rollcall.Instance) bool) *Reducer {
	if keep == nil {
		keep = func(*rollcall.Instance) bool { return true }
	}
	return &Reducer{Target: service, service: service, zone: zone, keep: keep, identity: &identity{}, claims: newClaims()}
}

// Take takes note of what changed since what was taken before, one update per instance: a watcher's
// [rollcall.View.Updates], or [rollcall.View.Since] the view taken last. It costs what changed.
func (r *Reducer) Take(updates []rollcall.Update) {
	for _, u := range updates {
		now := u.Instance
		if u.Op == rollcall.Delete || !r.keep(now) {
			now = nil
		}
		r.claims.change(u.Instance.ID, r.shown(u.Instance.ID), now)
	}
}

// View makes a view of all that was taken. It returns the newest, and false if that is still the one before because a channel cannot see
// any of the changes.
func (r *Reducer) View() (*View, bool) {
	changes := r.claims.settle()
	if len(changes) == 0 && r.view != nil && r.view.Policy == r.Policy {
		return r.view, false
	}
	r.view = r.next(changes)
	return r.view, true
}

// Apply is Take and View.
func (r *Reducer) Apply(updates []rollcall.Update) (*View, bool) {
	r.Take(updates)
	return r.View()
}

// shown returns the instance of the newest view with an id; nil when there is none.
func (r *Reducer) shown(id string) *rollcall.Instance {
	if r.view == nil {
		return nil
	}
	n, found := slices.BinarySearchFunc(r.view.Instances, id, compareID)
	if !found {
		return nil
	}
	return r.view.Instances[n]
}

// next makes the view that follows the newest.
func (r *Reducer) next(changes []rollcall.Update) *View {
	prev := cmp.Or(r.view, &View{})
	next := &View{
		Service: r.service, Target: r.Target, Zone: r.zone, Policy: r.Policy,
		Instances: applyUpdates(prev.Instances, changes),
		reducer:   r.identity, number: prev.number + 1,
	}
	allBefore := r.serving == 0
	r.count(changes)
	next.all = r.serving == 0
	if r.view != nil && next.all == allBefore && !r.Linked { // else whoever was listed and whoever is, none is both and unchanged
		next.list = updateEndpoints(prev.Endpoints(), changes, next.wants)
	}
	if r.view != nil { // what the first adds is all there is: no need to remember it twice
		next.changes = changes
	}
	return next
}

// count keeps account of how many serve.
func (r *Reducer) count(changes []rollcall.Update) {
	for _, u := range changes {
		if u.Prev != nil && u.Prev.Serving() {
			r.serving--
		}
		if u.Op != rollcall.Delete && u.Instance.Serving() {
			r.serving++
		}
	}
}
