package xds

import (
	"slices"
	"strings"
	"sync/atomic"
)

// subscription is one name that a client asked for.
type subscription struct {
	stream      *stream
	text        string        // the name as it is written
	cell        *cell         // nil: no resource can have this name
	at          int           // where it stands among the cell's; guarded by the service's mu
	sent, acked uint64        // which resource
	as          *atomic.Int64 // up to which revision of etcd that holds; nil: nothing was acknowledged
	refused     uint64        // the newest that the client refused
	initial     string        // the version that the client says it has
	implied     bool          // nobody asked for it but for everything
	asked       uint64        // in which request of the state of the world, as watch.requests counts them
}

// subscriptions are sorted by their names, and each name is there once: mostly there are few, and they are gone through often.
type subscriptions []*subscription

func (list subscriptions) find(text string) (at int, found bool) {
	return slices.BinarySearchFunc(list, text, func(sub *subscription, text string) int { return strings.Compare(sub.text, text) })
}

// get returns the subscription to a name, or nil.
func (list subscriptions) get(text string) *subscription {
	if at, found := list.find(text); found {
		return list[at]
	}
	return nil
}

func (list subscriptions) names() []string {
	names := make([]string, len(list))
	for n, sub := range list {
		names[n] = sub.text
	}
	return names
}

// revisions returns for each name of which revision the client has it.
func (list subscriptions) revisions() []int64 {
	revisions := make([]int64, len(list))
	for n, sub := range list {
		revisions[n] = sub.revision()
	}
	return revisions
}

// revision returns of which revision of etcd the client has what it asked for; 0: it has nothing. What is the same in a newer view need
// not be told again.
func (sub *subscription) revision() int64 {
	if sub.cell == nil {
		return 0
	}
	if sub.as == nil {
		return 0
	}
	if r := sub.cell.resource.Load(); r != nil && sub.acked == r.seq {
		return max(sub.cell.service.revision.Load(), r.as.Load())
	}
	return sub.as.Load()
}

// want subscribes a stream to a name, unless it is already.
func (st *stream) want(w *watch, text string, implied bool) (sub *subscription, fresh bool) {
	at, found := w.subs.find(text)
	if found {
		sub = w.subs[at]
		if sub.implied && !implied {
			sub.implied = false
			w.asked++
		}
		return sub, false
	}
	sub = &subscription{stream: st, text: text, implied: implied}
	w.subs = slices.Insert(w.subs, at, sub)
	st.s.subs.Add(1)
	if !implied {
		w.asked++
	}
	if n, ok := parseName(w.kind, text); ok {
		st.s.join(sub, cellKey{kind: w.kind, name: n, stance: st.stance(w.kind, n)})
	}
	return sub, true
}

// drop takes back those that are not to be kept.
func (st *stream) drop(w *watch, keep func(*subscription) bool) {
	w.subs = slices.DeleteFunc(w.subs, func(sub *subscription) bool {
		if keep(sub) {
			return false
		}
		st.release(w, sub)
		return true
	})
}

// dropOne takes one back.
func (st *stream) dropOne(w *watch, text string) {
	if at, found := w.subs.find(text); found {
		st.release(w, w.subs[at])
		w.subs = slices.Delete(w.subs, at, at+1)
	}
}

func (st *stream) release(w *watch, sub *subscription) {
	if sub.cell != nil {
		st.s.leave(sub)
	}
	st.s.subs.Add(-1)
	if !sub.implied {
		w.asked--
	}
}

// forget takes all of them back.
func (st *stream) forget(w *watch) {
	st.drop(w, func(*subscription) bool { return false })
}

func (st *stream) stance(k kind, n name) stance {
	s := stance{hidden: !st.sees(n.service)}
	if k == endpoints && !s.hidden {
		s.zone, s.names = st.node.zone, st.node.resolves()
	}
	return s
}
