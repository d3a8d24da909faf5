package dns

import (
	"encoding/binary"
	"net/netip"
)

// Limits of answers.
const (
	maxPayload   = 1232      // by UDP: what passes through every network in one piece
	maxMessage   = 1<<16 - 1 // by TCP
	amplifyLimit = 5         // an answer by UDP is less than so many times as large as its question: an attacker gains nothing by forging a sender
)

// via is how a message came.
type via int

const (
	viaUDP via = iota
	viaTCP
	ways
)

// desk is what one who answers questions works with, one after the other.
type desk struct {
	q query
	w writer
}

// answer returns the answer to a message, in buf if it fits; nil: none. It is the one place where answers are made.
func (s *Server) answer(d *desk, msg, buf []byte, by via) []byte {
	q, w := &d.q, &d.w
	code, ok := q.parse(msg)
	if !ok {
		return nil
	}
	w.reset(q, buf, maxMessage, by)
	if by == viaUDP {
		w.limit = min(q.room, maxPayload, amplifyLimit*len(msg)-1)
	}
	if q.opt {
		w.limit -= optLen
	}
	w.begin()
	if code == codeOK {
		now := s.standing()
		f := s.find(q, now)
		f.ttl = now.ttl
		code = s.write(w, f)
		if now.stale && code != codeRefused {
			s.counts.stale.Add(1)
		}
	}
	w.finish(code)
	s.counts.answered(q, code, by)
	if w.truncated {
		s.counts.truncated.Add(1)
	}
	return w.b
}

// slip returns an empty answer that sends the client to TCP. A message that it would not answer gets none.
func (s *Server) slip(d *desk, msg, buf []byte) []byte {
	q, w := &d.q, &d.w
	if code, ok := q.parse(msg); !ok || code != codeOK {
		return nil
	}
	w.reset(q, buf, maxPayload, viaUDP)
	w.begin()
	w.truncated = true
	w.finish(codeOK)
	return w.b
}

// write writes what was found, and returns the code.
func (s *Server) write(w *writer, f finding) int {
	if f.code == codeRefused || f.code == codeServFail {
		return f.code
	}
	w.b[2] |= bitAuthoritative
	switch {
	case f.set == nil:
		s.denial(w, f.ttl)
	case f.set == soaSet:
		if w.fits(2 + 10 + s.soaLen()) {
			s.appendSOA(w, f.ttl)
			w.answers++
		}
	default:
		w.set(f.set, f.ttl)
		if f.rtype == typeSRV {
			w.hosts(f.set, f.ttl)
		} else if f.rtype == typeNS {
			w.nameServers(s.cfg.Addrs, f.ttl)
		}
	}
	return f.code
}

// denial is the SOA, which says for how long there is nothing.
func (s *Server) denial(w *writer, ttl uint32) {
	if w.fits(2 + 10 + s.soaLen()) {
		s.appendSOA(w, ttl)
		w.authority++
	}
}

const rname = "hostmaster"

func (s *Server) soaLen() int { return len(labelNS) + 1 + 2 + len(rname) + 1 + 2 + 20 }

// appendSOA writes the SOA of the domain, whose name the question ends with.
func (s *Server) appendSOA(w *writer, ttl uint32) {
	domain := 0xC000 | uint16(w.q.end-4-len(s.domain))
	b := binary.BigEndian.AppendUint16(w.b, domain)
	b = appendFixed(b, typeSOA, ttl, s.soaLen())
	b = append(append(b, byte(len(labelNS))), labelNS...)
	b = binary.BigEndian.AppendUint16(b, domain)
	b = append(append(b, byte(len(rname))), rname...)
	b = binary.BigEndian.AppendUint16(b, domain)
	for _, n := range []uint32{s.serial.Load(), 3600, 600, 86400, ttl} { // serial, refresh, retry, expire, and the TTL of denials
		b = binary.BigEndian.AppendUint32(b, n)
	}
	w.b = b
}

// writer writes one answer.
type writer struct {
	q     *query
	b     []byte
	limit int // of b, without the OPT
	by    via

	answers, authority, additional uint16
	truncated                      bool

	drawn  []int32 // the servers that were written, and
	places []int32 // where the data of each begins
}

func (w *writer) reset(q *query, buf []byte, limit int, by via) {
	w.q, w.b, w.limit, w.by = q, buf[:0], limit, by
	w.answers, w.authority, w.additional, w.truncated = 0, 0, 0, false
	w.drawn, w.places = w.drawn[:0], w.places[:0]
}

// begin writes the header and the question, byte for byte.
func (w *writer) begin() {
	end := max(w.q.end, headerLen)
	w.b = append(w.b, w.q.msg[:end]...)
	w.b[2] = bitResponse | w.q.msg[2]&(15<<3|bitRecursion)
	w.b[3] = w.q.msg[3] & bitUnchecked
}

func (w *writer) fits(size int) bool { return len(w.b)+size <= w.limit }

// record writes one record at the name of the question, if it fits.
func (w *writer) record(rtype uint16, ttl uint32, data []byte) bool {
	if !w.fits(12 + len(data)) {
		return false
	}
	w.b = append(w.b, 0xC0, headerLen)
	w.b = appendFixed(w.b, rtype, ttl, len(data))
	w.b = append(w.b, data...)
	return true
}

func appendFixed(b []byte, rtype uint16, ttl uint32, size int) []byte {
	return append(b, byte(rtype>>8), byte(rtype), 0, classIN,
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(size>>8), byte(size))
}

// set writes as many records of a set as fit. The first one that does not ends it: to look for a shorter one would be unfair to the longer.
func (w *writer) set(s *set, ttl uint32) {
	n := len(s.entries)
	if w.by == viaTCP {
		s.all(func(i int) bool { return w.entry(s, i, ttl) })
	} else {
		for d := s.draw(); d.n < min(n, maxUDP) && w.entry(s, d.next(), ttl); {
			continue
		}
	}
	// By TCP what is missing has nowhere else to be asked for.
	w.truncated = int(w.answers) < n && w.by == viaUDP
}

func (w *writer) entry(s *set, i int, ttl uint32) bool {
	data := s.entries[i].data
	if !w.record(s.rtype, ttl, data) {
		return false
	}
	w.answers++
	if s.rtype == typeSRV {
		w.drawn, w.places = append(w.drawn, int32(i)), append(w.places, int32(len(w.b)-len(data)))
	}
	return true
}

// hosts adds the addresses of the targets of SRV records, as long as they fit.
func (w *writer) hosts(s *set, ttl uint32) {
	for n, i := range w.drawn {
		if ip := s.entries[i].ip; ip.IsValid() && !w.host(int(w.places[n])+6, ip, ttl) {
			return
		}
	}
}

// nameServers adds the addresses of the one name server there is.
func (w *writer) nameServers(addrs []netip.Addr, ttl uint32) {
	if w.answers == 0 {
		return
	}
	target := w.q.end + 12
	for _, ip := range addrs {
		if !w.host(target, ip.Unmap(), ttl) {
			return
		}
	}
}

// host adds an address of the name that is at a place.
func (w *writer) host(place int, ip netip.Addr, ttl uint32) bool {
	size, rtype := 4, uint16(typeA)
	if !ip.Is4() {
		size, rtype = 16, typeAAAA
	}
	if place >= 1<<14 || !w.fits(12+size) { // a pointer does not reach further
		return false
	}
	w.b = binary.BigEndian.AppendUint16(w.b, 0xC000|uint16(place))
	w.b = appendIP(appendFixed(w.b, rtype, ttl, size), ip)
	w.additional++
	return true
}

// finish writes what is known last.
func (w *writer) finish(code int) {
	if w.truncated {
		w.b[2] |= bitTruncated
	}
	if w.q.opt {
		var flags byte
		if w.q.dnssec {
			flags = bitDNSSECOK
		}
		w.b = append(w.b, 0, 0, typeOPT, maxPayload>>8, maxPayload&0xff, byte(code>>4), 0, flags, 0, 0, 0)
		w.additional++
	}
	w.b[3] |= byte(code & 15)
	questions := uint16(0)
	if w.q.end > 0 {
		questions = 1
	}
	for n, count := range []uint16{questions, w.answers, w.authority, w.additional} {
		binary.BigEndian.PutUint16(w.b[4+2*n:], count)
	}
}
