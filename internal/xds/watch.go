package xds

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// maxResponse is the size from which on resources go into a further response, where that is possible: clients take 4 MiB.
const maxResponse = 1 << 20

// maxDetail is how much is kept of a client's reason to refuse something, in bytes.
const maxDetail = 1024

// maxOutstanding is how many responses are remembered that a client has not acknowledged.
const maxOutstanding = 64

// watch is what one client wants of one type, and what it was sent. It is guarded by the stream's mu.
type watch struct {
	kind  kind
	subs  map[string]*subscription
	asked int // how many of them were asked for by name

	everything bool // all services that the client may be told of
	ever       bool // names were asked for: none is none, from then on
	must       bool // an answer is due, even an empty one
	missing    []string

	nonce       uint64 // of the last response; 0: none was sent
	outstanding []delivery
	acked       string // the version
	ackedNonce  string
	refusal     *Refusal // the last one, until the client has acknowledged in its place what it refused; nil: none
}

// subscription is one name.
type subscription struct {
	cell        *cell  // nil: no resource can have this name
	sent, acked uint64 // which resource
	refused     uint64 // the newest that the client refused
	initial     string // the version that the client says it has
	implied     bool   // nobody asked for it but for everything
}

// delivery is a response that is on its way.
type delivery struct {
	nonce, version string
	of             []*subscription
	seq            []uint64
}

func (sub *subscription) end(st *stream) {
	if sub.cell != nil {
		st.s.leave(st, sub.cell)
		sub.cell = nil
	}
}

// collect returns what the client has not been sent.
func (w *watch) collect(delta bool) []*response {
	if !w.pending() {
		return nil
	}
	var list []*resource
	var of []*subscription
	news, size := w.must, 0
	for _, text := range slices.Sorted(maps.Keys(w.subs)) {
		sub := w.subs[text]
		if sub.cell == nil {
			continue
		}
		r := sub.cell.resource.Load()
		if r == nil {
			if w.kind.whole() && !delta {
				return nil // a part would say that the rest is gone
			}
			continue
		}
		if sub.initial != "" {
			if sub.initial == r.version {
				sub.sent, sub.acked = r.seq, r.seq
			}
			sub.initial = ""
		}
		isNews := sub.sent != r.seq
		news = news || isNews
		if isNews || w.kind.whole() && !delta {
			list, of = append(list, r), append(of, sub)
		}
	}
	if !news || w.must && len(list) == 0 && w.waits() {
		return nil
	}
	var responses []*response
	begin := 0
	for n, r := range list {
		size += r.fragment.Len()
		if n > begin && size > maxResponse && (delta || !w.kind.whole()) {
			responses = append(responses, w.response(list[begin:n], of[begin:n]))
			begin, size = n, r.fragment.Len()
		}
	}
	return append(responses, w.response(list[begin:], of[begin:]))
}

// pending reports whether there may be something to send, at little cost: mostly there is not.
func (w *watch) pending() bool {
	if w.must {
		return true
	}
	for _, sub := range w.subs {
		if sub.cell == nil {
			continue
		}
		if r := sub.cell.resource.Load(); r != nil && sub.sent != r.seq {
			return true
		}
	}
	return false
}

// waits reports whether something is wanted of which nothing is known yet.
func (w *watch) waits() bool {
	for _, sub := range w.subs {
		if sub.cell != nil && sub.cell.resource.Load() == nil {
			return true
		}
	}
	return false
}

// response makes one response, and takes note of it.
func (w *watch) response(list []*resource, of []*subscription) *response {
	w.nonce++
	r := &response{
		kind: w.kind, version: versionOf(list), nonce: strconv.FormatUint(w.nonce, 10),
		resources: list, missing: w.missing,
	}
	w.must, w.missing = false, nil
	d := delivery{nonce: r.nonce, version: r.version, of: of}
	for n, sub := range of {
		sub.sent = list[n].seq
		d.seq = append(d.seq, list[n].seq)
	}
	if len(w.outstanding) == maxOutstanding {
		w.outstanding = slices.Delete(w.outstanding, 0, 1)
	}
	w.outstanding = append(w.outstanding, d)
	return r
}

// answered takes note of what a client says of a response; detail is why it refuses it. It reports whether that is news.
func (w *watch) answered(nonce string, refused bool, detail string) bool {
	n := slices.IndexFunc(w.outstanding, func(d delivery) bool { return d.nonce == nonce })
	if n < 0 {
		return false
	}
	// A client that is told much at a time may answer the last response only, as C-core 1.51 does: those before it are answered with it.
	for _, before := range w.outstanding[:n] {
		for n, sub := range before.of {
			sub.acked = max(sub.acked, before.seq[n])
		}
	}
	d := w.outstanding[n]
	w.outstanding = slices.Delete(w.outstanding, 0, n+1)
	if refused {
		again := w.refusal != nil && w.refusal.Version == d.version
		w.refusal = &Refusal{Version: d.version, Detail: shortened(detail, maxDetail), At: time.Now()}
		for n, sub := range d.of {
			sub.refused = max(sub.refused, d.seq[n])
		}
		return !again
	}
	w.acked, w.ackedNonce = d.version, nonce
	for n, sub := range d.of {
		sub.acked = max(sub.acked, d.seq[n])
	}
	if w.refusal != nil && !w.refuses() {
		w.refusal = nil
	}
	return true
}

// refuses reports whether the client has refused something and not acknowledged it, or what came after it, since then.
func (w *watch) refuses() bool {
	for _, sub := range w.subs {
		if sub.refused > sub.acked {
			return true
		}
	}
	return false
}

// want adds a name, and reports whether it is one more.
func (st *stream) want(w *watch, text string, implied bool) bool {
	if sub := w.subs[text]; sub != nil {
		if sub.implied && !implied {
			sub.implied = false
			w.asked++
		}
		return false
	}
	sub := &subscription{implied: implied}
	w.subs[text] = sub
	st.s.subs.Add(1)
	if !implied {
		w.asked++
	}
	if n, ok := parseName(w.kind, text); ok {
		sub.cell = st.s.join(st, cellKey{kind: w.kind, name: n, stance: st.stance(w.kind, n)})
	}
	return true
}

// drop takes a name back.
func (st *stream) drop(w *watch, text string) {
	if sub := w.subs[text]; sub != nil {
		sub.end(st)
		delete(w.subs, text)
		st.s.subs.Add(-1)
		if !sub.implied {
			w.asked--
		}
	}
}

func (st *stream) stance(k kind, n name) stance {
	s := stance{hidden: !st.sees(n.service)}
	if k == endpoints && !s.hidden {
		s.zone, s.names = st.node.zone, st.node.resolves()
	}
	return s
}
