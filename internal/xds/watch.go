package xds

import (
	"slices"
	"strconv"
	"sync/atomic"
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
	subs  subscriptions
	asked int // how many of them were asked for by name

	everything bool   // all services that the client may be told of
	requests   uint64 // of the state of the world
	ever       bool   // names were asked for: none is none, from then on
	must       bool   // an answer is due, even an empty one
	missing    []string

	nonce       uint64 // of the last response; 0: none was sent
	lastNonce   string // the same in writing
	outstanding []delivery
	acked       string // the version
	ackedNonce  string
	refusal     *Refusal // the last one, until the client has acknowledged in its place what it refused; nil: none
}

// delivery is a response that is on its way.
type delivery struct {
	nonce, version string
	of             []delivered
}

// delivered is a resource that a response has.
type delivered struct {
	sub *subscription
	seq uint64
	as  *atomic.Int64 // the resource's
}

// collect returns what the client has not been sent.
func (w *watch) collect(delta bool) []*response {
	most := w.changed()
	if most == 0 && !w.must {
		return nil
	}
	if w.kind.whole() && !delta {
		most = len(w.subs)
	}
	list, of := make([]*resource, 0, most), make([]delivered, 0, most)
	news, size := w.must, 0
	for _, sub := range w.subs {
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
				sub.sent, sub.acked, sub.as = r.seq, r.seq, r.as
			}
			sub.initial = ""
		}
		isNews := sub.sent != r.seq
		news = news || isNews
		if isNews || w.kind.whole() && !delta {
			list, of = append(list, r), append(of, delivered{sub, r.seq, r.as})
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

// changed counts the resources that may have to be sent, at little cost: mostly there are none.
func (w *watch) changed() (n int) {
	for _, sub := range w.subs {
		if sub.cell == nil {
			continue
		}
		if r := sub.cell.resource.Load(); r != nil && sub.sent != r.seq {
			n++
		}
	}
	return n
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
func (w *watch) response(list []*resource, of []delivered) *response {
	w.nonce++
	w.lastNonce = strconv.FormatUint(w.nonce, 10)
	r := &response{
		kind: w.kind, version: versionOf(list), nonce: w.lastNonce,
		resources: list, missing: w.missing,
	}
	w.must, w.missing = false, nil
	for _, d := range of {
		d.sub.sent = d.seq
	}
	if len(w.outstanding) == maxOutstanding {
		w.outstanding = slices.Delete(w.outstanding, 0, 1)
	}
	w.outstanding = append(w.outstanding, delivery{nonce: r.nonce, version: r.version, of: of})
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
		before.acknowledged()
	}
	d := w.outstanding[n]
	w.outstanding = slices.Delete(w.outstanding, 0, n+1)
	if refused {
		again := w.refusal != nil && w.refusal.Version == d.version
		w.refusal = &Refusal{Version: d.version, Detail: shortened(detail, maxDetail), At: time.Now()}
		for _, r := range d.of {
			r.sub.refused = max(r.sub.refused, r.seq)
		}
		return !again
	}
	w.acked, w.ackedNonce = d.version, nonce
	d.acknowledged()
	if w.refusal != nil && !w.refuses() {
		w.refusal = nil
	}
	return true
}

func (d delivery) acknowledged() {
	for _, r := range d.of {
		if r.seq > r.sub.acked {
			r.sub.acked, r.sub.as = r.seq, r.as
		}
	}
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
