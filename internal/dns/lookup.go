package dns

import (
	"bytes"
)

// finding is what there is at a name.
type finding struct {
	code  int
	rtype uint16 // of set's records
	set   *set   // nil: nothing of the type that was asked for
	ttl   uint32
}

var (
	nothing = finding{}                   // the name exists
	unknown = finding{code: codeNXDomain} // it does not, nor any below it
	refused = finding{code: codeRefused}
)

func found(s *set) finding {
	if len(s.entries) == 0 {
		return nothing
	}
	return finding{rtype: s.rtype, set: s}
}

// standing is how far what is known can be told.
type standing struct {
	ttl   uint32
	stale bool // it is last-known-good
	blank bool // it is too old, or nothing at all
}

// standing returns how things are now.
func (s *Server) standing() standing {
	st := standing{ttl: s.ttl}
	since := s.stale.Load()
	if !s.known.Load() {
		st.blank = true
	}
	if since != nil {
		st.stale, st.ttl = true, min(st.ttl, staleTTL)
		st.blank = st.blank || s.now().Sub(*since) > s.cfg.MaxStale
	}
	return st
}

// staleTTL is the longest TTL of what is not current, in seconds.
const staleTTL = 1

// find returns what there is at the name of a question.
func (s *Server) find(q *query, now standing) finding {
	if q.class != classIN || q.rtype == typeAXFR || q.rtype == typeIXFR {
		return refused
	}
	n, at := q.n-s.domainLabels, q.size-len(s.domain)
	if n < 0 || at < 0 || !q.begins(n, at) || !bytes.Equal(q.lower[at:q.size], s.domain) {
		return refused
	}
	if n == 0 {
		return s.apex(q)
	}
	switch label := q.label(n - 1); {
	case string(label) == labelNS:
		return s.nameServer(q, n-1)
	case string(label) != labelService && string(label) != labelInstance:
		return unknown
	case n == 1:
		return nothing
	case now.blank:
		return finding{code: codeServFail}
	case string(label) == labelInstance:
		return s.instance(q, n-1)
	}
	return s.service(q, n-1)
}

// begins reports whether a label begins at a place.
func (q *query) begins(label, at int) bool { return label < q.n && int(q.labels[label]) == at }

// apex is the domain itself.
func (s *Server) apex(q *query) finding {
	switch q.rtype {
	case typeSOA:
		return finding{rtype: typeSOA, set: soaSet}
	case typeNS:
		return found(s.ns)
	case typeANY:
		return found(minimal)
	}
	return nothing
}

// soaSet stands for the record that appendSOA writes.
var soaSet = single(typeSOA, nil)

// minimal is what ANY is answered with: RFC 8482.
var minimal = single(typeHINFO, []byte("\x07RFC8482\x00"))

// nameServer is ns.<domain>.
func (s *Server) nameServer(q *query, n int) finding {
	switch {
	case n > 0:
		return unknown
	case q.rtype == typeA:
		return found(s.nsA)
	case q.rtype == typeAAAA:
		return found(s.nsAAAA)
	case q.rtype == typeANY:
		return found(minimal)
	}
	return nothing
}

// instance is <id>.instance.<domain>.
func (s *Server) instance(q *query, n int) finding {
	if n > 1 {
		return unknown
	}
	of, id, ok := parseID(q.label(0))
	if !ok {
		return unknown
	}
	sees := s.sight()
	for _, sv := range s.byID(of) {
		if !sees(sv.name) {
			continue
		}
		if a, ok := sv.arrange(s.below).target(id); ok {
			return hostOf(a, q.rtype)
		}
	}
	return unknown
}

func hostOf(a address, rtype uint16) finding {
	switch {
	case a.host != "":
		return found(single(typeCNAME, []byte(a.host)))
	case rtype == typeANY:
		return found(minimal)
	case rtype == typeA && a.ip.Is4(), rtype == typeAAAA && a.ip.Is6():
		return found(single(rtype, appendIP(nil, a.ip)))
	}
	return nothing
}

// What the labels in front of all others, which begin with _, ask for.
const (
	forHosts = iota
	forPort
	forConfig
	forPorts // of no name: there is nothing but what is below it
)

// service is a name below service.<domain>, of n labels: what is asked for, then selectors, then the service.
func (s *Server) service(q *query, n int) finding {
	from, what := 0, forHosts
	switch label := q.label(0); {
	case label[0] != '_':
	case string(label) == labelConfig:
		from, what = 1, forConfig
	case string(label) == labelTCP:
		from, what = 1, forPorts
	case n > 1 && string(q.label(1)) == labelTCP:
		from, what = 2, forPort
	}
	last := q.lastWord(from, n)
	if last+1 >= n || from >= n {
		return unknown
	}
	name := q.span(max(last+1, from), n)
	sv, parent := s.named(name)
	if sv == nil {
		if parent && last < 0 && from == 0 {
			return nothing
		}
		return unknown
	}
	a := sv.arrange(s.below)
	key := setKey{rtype: q.rtype}
	if last >= 0 {
		switch a.choose(q, from, last, &key) {
		case absent:
			return unknown
		case partly:
			if from > 0 {
				return unknown
			}
			return nothing
		}
	}
	return a.answer(q, what, key)
}

// answer returns what there is of a type, and of the members that key says.
func (a *arrangement) answer(q *query, what int, key setKey) finding {
	switch what {
	case forPorts:
		return nothing
	case forConfig:
		if q.rtype == typeTXT {
			return found(a.serviceConfig())
		}
	case forPort:
		port := q.label(0)[1:]
		if string(port) != mainPort {
			a.index()
			name, known := a.ports[string(port)]
			if !known {
				return unknown
			}
			key.port = name
		}
		if q.rtype == typeSRV {
			return found(a.set(key))
		}
	default:
		if q.rtype == typeA || q.rtype == typeAAAA || q.rtype == typeSRV {
			return found(a.set(key))
		}
	}
	if q.rtype == typeANY {
		return found(minimal)
	}
	return nothing
}

// named returns the service of some labels, if the caller may be told of it, or else whether they are what the names of others end with.
func (s *Server) named(labels []byte) (sv *service, parent bool) {
	sees := s.sight()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if sv := s.services[string(labels)]; sv != nil && sees(sv.name) {
		return sv, false
	}
	for child := range s.parents[string(labels)] {
		if sees(child.name) {
			return nil, true
		}
	}
	return nil, false
}

// sight returns what callers may be told of.
func (s *Server) sight() func(service string) bool {
	if s.cfg.Sight == nil {
		return everything
	}
	return s.cfg.Sight()
}

func everything(string) bool { return true }

func (s *Server) byID(id uint32) []*service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ids[id]
}
