package balancer

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"google.golang.org/grpc/metadata"

	lb "google.golang.org/grpc/balancer"
)

// table is what picks go by, and gRPC's picker: the connections that can be used, and how often each. It is immutable but for what
// its connections say of themselves, and is read without a lock.
//
// The shares of the entries lie beside one another on a line from 0 to 2³². To draw one is to find whose share a point is in:
// guide has, for each of 2^k even pieces of the line, the first entry that reaches into it, and from there it is a step or
// two (the cutpoint method, Chen and Asau 1974). The points of round robin are the multiples of the golden ratio, modulo the
// line: they fall into each share as often as it is long, give or take a few, and far from one another (Weyl's sequence).
type table struct {
	order   *atomic.Uint64 // the number of the last pick; goes on from table to table
	entries []*conn
	even    bool      // all shares are equal: the entries take turns
	ends    []uint32  // where each share ends; the last one at the end of the line
	weights []float64 // of the entries, for least request
	guide   []uint32
	shift   uint // from a point to its piece

	least   bool
	stalls  []stall  // which cell's entries lie where, for least request
	stallOf []uint32 // each entry's
	header  string
	parts   []part // of the versions, for the header, in order of their groups
	report  bool   // the ends of calls are to be told to the connections
}

// span is a part of the line, without its end.
type span struct{ begin, end uint32 }

// stall is a cell's part of the line, and its entries: from first on, n of them.
type stall struct {
	span
	first, n int
}

// part is the part of the line of a version, and the percentages that it stands for.
type part struct {
	span
	upTo  float64 // the sum of its own share and those before it, of 1
	order *atomic.Uint64
}

// golden is 2⁶⁴ divided by the golden ratio.
const golden = 0x9e3779b97f4a7c15

var whole = span{0, math.MaxUint32}

// Pick chooses a connection.
func (t *table) Pick(info lb.PickInfo) (lb.PickResult, error) {
	within, order := whole, t.order
	if t.header != "" {
		within, order = t.partOf(info)
	}
	var c *conn
	if t.least {
		c = t.lessLoaded(within)
	} else {
		c = t.next(within, order)
	}
	if c == nil {
		return lb.PickResult{}, lb.ErrNoSubConnAvailable // all are lost; the next picker is on its way
	}
	result := lb.PickResult{SubConn: c.sc}
	if t.least {
		c.calls.Add(1)
		result.Done = c.doneCounted
	} else if t.report {
		result.Done = c.done
	}
	return result, nil
}

// turns is a table whose entries simply take turns, as most do.
type turns table

// Pick chooses a connection in as few steps as that takes.
func (t *turns) Pick(info lb.PickInfo) (lb.PickResult, error) {
	turn := uint32(t.order.Add(1))
	if c := t.entries[turn%uint32(len(t.entries))]; c.usable.Load() {
		if t.report {
			return lb.PickResult{SubConn: c.sc, Done: c.done}, nil
		}
		return lb.PickResult{SubConn: c.sc}, nil
	}
	return (*table)(t).Pick(info)
}

// picker returns what gRPC is to pick by.
func (t *table) picker() lb.Picker {
	if t.even && !t.least && t.header == "" {
		return (*turns)(t)
	}
	return t
}

// tries is how often another entry is drawn when one has been lost since the table was made, before the neighbours are asked.
const tries = 4

// next returns whose turn it is.
func (t *table) next(within span, order *atomic.Uint64) *conn {
	n := 0
	for range tries {
		turn := order.Add(1)
		if t.even && within == whole {
			n = int(uint32(turn) % uint32(len(t.entries))) // half as long as with 64 bits
		} else {
			n = t.find(within.at(uint32(turn * golden >> 32)))
		}
		if c := t.entries[n]; c.usable.Load() {
			return c
		}
	}
	return t.neighbour(n)
}

// lessLoaded draws two of one cell and returns the one with less to do for its weight. Where the line is divided among versions and
// zones, it is the first draw that decides which: the load must not.
func (t *table) lessLoaded(within span) *conn {
	n := 0
	for range tries {
		random := rand.Uint64()
		n = t.find(within.at(uint32(random)))
		in := t.stalls[t.stallOf[n]]
		m := t.find(in.at(uint32(random >> 32)))
		if m == n { // its neighbour then
			m = in.first + (n-in.first+1)%in.n
		}
		a, b := t.entries[n], t.entries[m]
		switch {
		case !a.usable.Load():
			if b.usable.Load() {
				return b
			}
		case !b.usable.Load(), a == b:
			return a
		case float64(b.calls.Load()+1)*t.weights[n] <= float64(a.calls.Load())*t.weights[m]:
			return b // with this call, too, it has no more to do than the other has now
		default:
			return a // as drawn, by weight: of two that are idle the heavier must not get everything
		}
	}
	return t.neighbour(n)
}

// neighbour returns the first connection from an entry on that can still be used, nil when there is none.
func (t *table) neighbour(n int) *conn {
	for range t.entries {
		if c := t.entries[n]; c.usable.Load() {
			return c
		}
		if n++; n == len(t.entries) {
			n = 0
		}
	}
	return nil
}

// at maps a point of the whole line to one of the span.
func (s span) at(point uint32) uint32 {
	return s.begin + uint32(uint64(point)*uint64(s.end-s.begin)>>32)
}

func (t *table) find(point uint32) int {
	n := int(t.guide[point>>t.shift])
	for n < len(t.ends)-1 && point >= t.ends[n] {
		n++
	}
	return n
}

// partOf returns the part of the line that a call's header stands for, and the order of the calls there: a part of all calls, chosen by
// chance, would not be in order.
func (t *table) partOf(info lb.PickInfo) (span, *atomic.Uint64) {
	md, _ := metadata.FromOutgoingContext(info.Ctx)
	values := md.Get(t.header)
	if len(values) == 0 {
		return whole, t.order
	}
	point := float64(hashString(values[0])>>11) / (1 << 53)
	for _, p := range t.parts {
		if point < p.upTo {
			return p.span, p.order
		}
	}
	return whole, t.order
}

// draw makes the line from the shares of the entries, which add up to 1.
func (t *table) draw(shares []float64) {
	t.ends = make([]uint32, len(shares))
	sum := 0.0
	for n, share := range shares {
		sum += share
		t.ends[n] = uint32(min(sum*(1<<32), math.MaxUint32))
	}
	t.ends[len(shares)-1] = math.MaxUint32
	k := uint(max(bits.Len(uint(len(shares)-1)), 1))
	t.shift = 32 - k
	t.guide = make([]uint32, 1<<k)
	n := 0
	for piece := range t.guide {
		for n < len(shares)-1 && t.ends[n] <= uint32(piece)<<t.shift {
			n++
		}
		t.guide[piece] = uint32(n)
	}
}
