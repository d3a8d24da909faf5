package dns

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"sync"
)

// maxUDP is how many records an answer by UDP has at most, those that come with it not counted.
const maxUDP = 16

// set is all the records that answer a question, without the name, which is the question's, and the TTL.
type set struct {
	rtype   uint16
	entries []entry
	upto    []uint64 // the sums of the weights up to and with each entry; nil: each weighs 1

	ordered sync.Once
	order   []int32 // of all entries, by chance; made when it is needed
}

type entry struct {
	data []byte
	ip   netip.Addr // of the name that data ends with; invalid: there is nothing to tell of it
}

// level forgets weights that are all the same: to draw by them takes longer.
func (s *set) level() {
	for i := range s.upto {
		if s.upto[i] != uint64(i+1)*s.upto[0] {
			return
		}
	}
	s.upto = nil
}

// total is the sum of all weights.
func (s *set) total() uint64 { return s.from(len(s.entries)) }

// from is the sum of the weights in front of an entry.
func (s *set) from(i int) uint64 {
	if s.upto == nil || i == 0 {
		return uint64(i)
	}
	return s.upto[i-1]
}

// single is a set of one record.
func single(rtype uint16, data []byte) *set {
	return &set{rtype: rtype, entries: []entry{{data: data}}}
}

// addresses returns the records of a type for the addresses of members, each address once, with the weights of all that are there.
func addresses(rtype uint16, list []*member) *set {
	weights := make(map[netip.Addr]uint64, len(list))
	ips := make([]netip.Addr, 0, len(list))
	for _, m := range list {
		ip := m.address.ip
		if !ip.IsValid() || ip.Is4() != (rtype == typeA) {
			continue
		}
		if _, has := weights[ip]; !has {
			ips = append(ips, ip)
		}
		weights[ip] += m.weight
	}
	s := &set{rtype: rtype, entries: make([]entry, len(ips)), upto: make([]uint64, len(ips))}
	data := make([]byte, 0, 16*len(ips))
	sum := uint64(0)
	for n, ip := range ips {
		from := len(data)
		data = appendIP(data, ip)
		s.entries[n].data = data[from:]
		sum += weights[ip]
		s.upto[n] = sum
	}
	s.level()
	return s
}

func appendIP(b []byte, ip netip.Addr) []byte {
	if ip.Is4() {
		a := ip.As4()
		return append(b, a[:]...)
	}
	a := ip.As16()
	return append(b, a[:]...)
}

// weightTotal is what the weights of a set of SRV records add up to, but for rounding.
const weightTotal = 100

// servers returns the SRV records of members for the port of a name. below is what instances' names end with.
func servers(service uint32, list []*member, port string, below []byte) *set {
	s := &set{rtype: typeSRV, entries: make([]entry, 0, len(list)), upto: make([]uint64, 0, len(list))}
	sum := uint64(0)
	for _, m := range list {
		if m.port(port).valid() {
			sum += m.weight
		}
	}
	data := make([]byte, 0, len(list)*(6+1+serviceChars+ownChars+len(below)))
	upto := uint64(0)
	for _, m := range list {
		a := m.port(port)
		if !a.valid() {
			continue
		}
		upto += m.weight
		percent := max(1, math.Round(weightTotal*float64(m.weight)/float64(sum)))
		from := len(data)
		data = binary.BigEndian.AppendUint16(data, 0)
		data = binary.BigEndian.AppendUint16(data, uint16(percent))
		data = binary.BigEndian.AppendUint16(data, a.port)
		if a.host != "" {
			data = append(data, a.host...)
		} else {
			data = append(appendID(data, service, a.id), below...)
		}
		s.entries = append(s.entries, entry{data: data[from:len(data):len(data)], ip: a.ip})
		s.upto = append(s.upto, upto)
	}
	s.level()
	return s
}

// draw is entries of a set in an order by chance and weight: each time one of those that are left, with the odds of its weight.
type draw struct {
	set    *set
	left   uint64 // the sum of the weights of those
	picked [maxUDP]int32
	n      int
}

func (s *set) draw() draw { return draw{set: s, left: s.total()} }

// next returns one more; not more than maxUDP, and not more than there are. What it costs does not grow with the set, but for the
// steps of a binary search.
func (d *draw) next() int {
	s, at := d.set, rand.Uint64N(d.left)
	place := 0
	for place < d.n { // what is taken already is passed over
		i := int(d.picked[place])
		if at < s.from(i) {
			break
		}
		at += s.from(i+1) - s.from(i)
		place++
	}
	i := int(at)
	if s.upto != nil {
		i = sort.Search(len(s.upto), func(n int) bool { return s.upto[n] > at })
	}
	copy(d.picked[place+1:d.n+1], d.picked[place:d.n])
	d.picked[place] = int32(i)
	d.n++
	d.left -= s.from(i+1) - s.from(i)
	return i
}

// all calls do with the entries until it says no: the first maxUDP in such an order, the others in one that is the set's own, from
// anywhere in it on, so that each is left out as often as any other if not all fit.
func (s *set) all(do func(i int) bool) {
	d := s.draw()
	for d.n < min(len(s.entries), maxUDP) {
		if !do(d.next()) {
			return
		}
	}
	if d.n == len(s.entries) {
		return
	}
	s.ordered.Do(s.shuffle)
	from := rand.IntN(len(s.order))
	for n := range s.order {
		i := s.order[(from+n)%len(s.order)]
		if _, drawn := slices.BinarySearch(d.picked[:], i); !drawn && !do(int(i)) {
			return
		}
	}
}

func (s *set) shuffle() {
	s.order = make([]int32, len(s.entries))
	for n, i := range rand.Perm(len(s.entries)) {
		s.order[n] = int32(i)
	}
}
