package history

import (
	"math"
	"strings"
	"time"
	"unique"

	"github.com/rollcall-io/rollcall"
)

// record is an event as it is kept: small, and what many have in common is there once.
type record struct {
	who      *subject
	why      *cause // nil: nothing to say
	revision int64
	at       int64 // the latest that it can have been
	within   int64 // by how much that may be too late, or unknown; while it is not settled, the earliest that it can have been, 0: unknown
	since    int64 // 0: not set, as until
	until    int64
	before   int64 // the sequence of the event of the same service that came before; 0: there is none
	kind     Kind
	exact    bool // at is exact
}

// unknown is a time that nobody knows.
const unknown = math.MinInt64

// known returns when it was, as far as anybody knows.
func (r *record) known() int64 {
	if r.within == unknown {
		return unknown
	}
	return r.at
}

// subject is whom an event is about: one incarnation of an instance.
type subject struct {
	service, zone, version unique.Handle[string]
	id, addr, incarnation  string
}

// cause is who did something, and why, and what.
type cause struct{ actor, reason, detail string }

func causeOf(actor, reason, detail string) *cause {
	if actor == "" && reason == "" && detail == "" {
		return nil
	}
	return &cause{strings.Clone(actor), strings.Clone(reason), strings.Clone(detail)}
}

var nobody = unique.Make("")

func subjectOf(service, id string, i *rollcall.Instance) *subject {
	s := &subject{service: unique.Make(service), id: strings.Clone(id), zone: nobody, version: nobody}
	if i != nil {
		s.zone, s.version, s.addr, s.incarnation = unique.Make(i.Zone), unique.Make(i.Version), i.Addr, i.Incarnation
	}
	if s.addr == s.id {
		s.addr = s.id
	}
	return s
}

const chunkLen = 256

// ring is the events that are kept, in the order in which they became known. The last ones may not be settled: when they were will be known
// when the next revision is seen whose time is. Until then nobody is told of them.
type ring struct {
	most    int
	chunks  [][]record
	base    int64 // the sequence of the first record in chunks
	first   int64 // of the first that is kept
	settled int64 // of the first that is not settled
	next    int64 // of the next one
	began   int64 // of the first that there ever was
	last    map[unique.Handle[string]]int64
}

// newRing returns an empty ring. Its sequences begin where no earlier process has come to; JavaScript can count that far.
func newRing(most int, now time.Time) ring {
	begin := now.Unix() * 1_000_000
	return ring{most: most, base: begin, first: begin, settled: begin, next: begin, began: begin, last: map[unique.Handle[string]]int64{}}
}

func (r *ring) len() int { return int(r.next - r.first) }

func (r *ring) at(seq int64) *record {
	n := seq - r.base
	return &r.chunks[n/chunkLen][n%chunkLen]
}

// add appends a record.
func (r *ring) add(e record) {
	if n := r.next - r.base; n/chunkLen == int64(len(r.chunks)) {
		r.chunks = append(r.chunks, make([]record, 0, chunkLen))
	}
	e.before = r.last[e.who.service]
	r.last[e.who.service] = r.next
	c := &r.chunks[len(r.chunks)-1]
	*c = append(*c, e)
	if r.next++; e.exact && r.settled == r.next-1 {
		r.settle(r.settled, e.at)
	}
}

// settle says that the events from a sequence on that are not settled were no later than at, nanoseconds since 1970.
func (r *ring) settle(from, at int64) {
	for ; from < r.next; from++ {
		e := r.at(from)
		switch {
		case e.exact:
			e.within = 0
		case e.within == 0:
			e.at, e.within = at, unknown
		default:
			e.within = at - min(e.within, at)
			e.at = at
		}
	}
	r.settled = r.next
}

// excess is how many of the oldest must go: there are too many, or they are too old.
func (r *ring) excess(oldest int64) int {
	n := max(0, r.len()-r.most)
	for old := n; old < int(r.settled-r.first); old++ {
		switch e := r.at(r.first + int64(old)); {
		case e.at < oldest:
			n = old + 1
		case e.within != unknown:
			return n
		}
	}
	return n
}

// drop forgets the oldest ones, and returns the last of them.
func (r *ring) drop(n int) (last record) {
	for range n {
		e := r.at(r.first)
		last = *e
		if r.last[e.who.service] == r.first {
			delete(r.last, e.who.service)
		}
		*e = record{}
		if r.first++; r.first-r.base == chunkLen {
			r.chunks[0] = nil
			r.chunks = r.chunks[1:]
			r.base = r.first
		}
	}
	r.settled = max(r.settled, r.first)
	return last
}

func (r *ring) event(seq int64) Event {
	e := r.at(seq)
	v := Event{
		Sequence: seq, Kind: e.kind, Revision: e.revision, Service: e.who.service.Value(), Instance: e.who.id,
		Addr: e.who.addr, Zone: e.who.zone.Value(), Version: e.who.version.Value(), Incarnation: e.who.incarnation,
		Since: timeOf(e.since), Until: timeOf(e.until),
	}
	if e.within != unknown {
		v.Time, v.Within = timeOf(e.at), time.Duration(e.within)
	}
	if e.why != nil {
		v.Actor, v.Reason, v.Detail = e.why.actor, e.why.reason, e.why.detail
	}
	return v
}

// list returns what a query asks for.
func (r *ring) list(q Query) (events []Event, next int64) {
	before := r.settled
	if q.Before > 0 {
		before = min(before, q.Before)
	}
	for seq := r.newest(q.Service, before); seq >= r.first; seq = r.older(q.Service, seq) {
		e := r.at(seq)
		if !q.on(e) || !q.in(e) {
			continue
		}
		if q.Limit > 0 && len(events) == q.Limit {
			return events, events[len(events)-1].Sequence
		}
		events = append(events, r.event(seq))
	}
	return events, 0
}

// newest returns the newest event before a sequence, of a service or of all; less than first when there is none.
func (r *ring) newest(service string, before int64) int64 {
	if service == "" {
		return before - 1
	}
	seq := r.last[unique.Make(service)]
	for seq >= r.first && seq >= before {
		seq = r.at(seq).before
	}
	return seq
}

func (r *ring) older(service string, seq int64) int64 {
	if service == "" {
		return seq - 1
	}
	return r.at(seq).before
}

func timeOf(nano int64) time.Time {
	if nano == 0 || nano == unknown {
		return time.Time{}
	}
	return time.Unix(0, nano).UTC()
}

func nanoOf(t time.Time) int64 {
	if t.IsZero() || t.Year() < 1900 || t.Year() > 2200 { // what nanoseconds cannot say
		return 0
	}
	return t.UnixNano()
}
