package dns

import "encoding/binary"

// What we need of the protocol's numbers: RFC 1035, 2782, 3596, 6891 and 8482.
const (
	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typeHINFO = 13
	typeTXT   = 16
	typeAAAA  = 28
	typeSRV   = 33
	typeOPT   = 41
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = 255

	classIN = 1

	codeOK       = 0
	codeFormErr  = 1
	codeServFail = 2
	codeNXDomain = 3
	codeNotImp   = 4
	codeRefused  = 5
	codeBadVers  = 16 // of which the header has the lower four bits, and OPT the others

	headerLen = 12
	optLen    = 11

	bitResponse      = 0x80 // in the third byte of a header, with the next three
	bitAuthoritative = 0x04
	bitTruncated     = 0x02
	bitRecursion     = 0x01 // desired
	bitUnchecked     = 0x10 // in the fourth
	bitDNSSECOK      = 0x80 // in the third byte of an OPT's TTL
)

// query is what a message asks. It is used again and again by whoever reads messages.
type query struct {
	msg    []byte
	end    int // of the question; 0: there is none that can be read
	rtype  uint16
	class  uint16
	lower  [maxName]byte   // the name in lower case, as it is in the message
	labels [maxName]uint16 // where in it each label begins; the root's is not one
	n      int             // how many there are
	size   int             // of lower

	opt     bool // the client speaks EDNS
	room    int  // of its buffer
	version byte
	dnssec  bool
}

// parse reads a message and returns a code other than codeOK if it cannot be answered; not ok: it is no question, and gets no answer.
func (q *query) parse(msg []byte) (code int, ok bool) {
	q.msg, q.end, q.n, q.size, q.opt, q.room, q.rtype = msg, 0, 0, 0, false, 512, 0
	if len(msg) < headerLen || msg[2]&bitResponse != 0 {
		return 0, false
	}
	opcode, questions := msg[2]>>3&15, binary.BigEndian.Uint16(msg[4:])
	if questions == 1 && !q.parseQuestion() {
		return codeFormErr, true
	}
	switch {
	case opcode != 0:
		return codeNotImp, true
	case questions != 1:
		return codeFormErr, true
	}
	return q.parseRest(), true
}

func (q *query) parseQuestion() bool {
	at := headerLen
	for {
		if at >= len(q.msg) {
			return false
		}
		size := int(q.msg[at])
		if size > maxLabel || at+1+size > len(q.msg) || q.size+1+size > maxName { // the first name of a message has nothing to point to
			return false
		}
		q.lower[q.size] = byte(size)
		for i, c := range q.msg[at+1 : at+1+size] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			q.lower[q.size+1+i] = c
		}
		if size == 0 {
			q.size++
			at++
			break
		}
		q.labels[q.n] = uint16(q.size)
		q.n++
		q.size += 1 + size
		at += 1 + size
	}
	if at+4 > len(q.msg) {
		return false
	}
	q.rtype, q.class = binary.BigEndian.Uint16(q.msg[at:]), binary.BigEndian.Uint16(q.msg[at+2:])
	q.end = at + 4
	return true
}

// parseRest passes over the records behind the question, of which OPT is the only one that says something.
func (q *query) parseRest() int {
	skip := int(binary.BigEndian.Uint16(q.msg[6:])) + int(binary.BigEndian.Uint16(q.msg[8:]))
	all := skip + int(binary.BigEndian.Uint16(q.msg[10:]))
	at := q.end
	for i := range all {
		name := at
		at = skipName(q.msg, at)
		if at < 0 || at+10 > len(q.msg) {
			return codeFormErr
		}
		fixed := q.msg[at : at+10]
		at += 10 + int(binary.BigEndian.Uint16(fixed[8:]))
		if at > len(q.msg) {
			return codeFormErr
		}
		if binary.BigEndian.Uint16(fixed) != typeOPT {
			continue
		}
		if q.opt || i < skip || q.msg[name] != 0 {
			return codeFormErr
		}
		q.opt, q.room, q.version, q.dnssec = true, max(512, int(binary.BigEndian.Uint16(fixed[2:]))), fixed[5], fixed[6]&bitDNSSECOK != 0
	}
	switch {
	case at != len(q.msg):
		return codeFormErr
	case q.opt && q.version > 0:
		return codeBadVers
	}
	return codeOK
}

// skipName returns where a name ends, or -1.
func skipName(msg []byte, at int) int {
	for at < len(msg) {
		size := int(msg[at])
		switch {
		case size == 0:
			return at + 1
		case size >= 0xC0:
			return at + 2
		case size > maxLabel:
			return -1
		}
		at += 1 + size
	}
	return -1
}

// label returns a label's text.
func (q *query) label(i int) []byte {
	at := int(q.labels[i])
	return q.lower[at+1 : at+1+int(q.lower[at])]
}

// span returns labels from i up to j, as they are in the message.
func (q *query) span(i, j int) []byte {
	if i == j {
		return nil
	}
	end := int(q.labels[j-1])
	return q.lower[q.labels[i] : end+1+int(q.lower[end])]
}
