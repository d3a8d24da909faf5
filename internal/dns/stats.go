package dns

import (
	"sync/atomic"
)

// Stats is what the server has done so far, for metrics.
type Stats struct {
	Types     map[string]int64 // questions that were answered, by type, "other" for those that we have none of
	Codes     map[string]int64 // answers, by code
	UDP, TCP  int64            // answers
	Truncated int64            // answers by UDP that did not have all
	Limited   int64            // questions from networks that had had enough answers
	Slipped   int64            // of these, those that were sent to TCP
	Stale     int64            // answers of what was last known, while etcd was out of reach

	Conns      int   // open now
	TurnedAway int64 // connections that a limit did not let in
	Services   int   // that have a name
}

var typeNames = map[uint16]string{
	typeA: "A", typeNS: "NS", typeCNAME: "CNAME", typeSOA: "SOA", typeTXT: "TXT", typeAAAA: "AAAA", typeSRV: "SRV", typeANY: "ANY",
}

var codeNames = [...]string{
	codeOK: "NOERROR", codeFormErr: "FORMERR", codeServFail: "SERVFAIL", codeNXDomain: "NXDOMAIN", codeNotImp: "NOTIMP",
	codeRefused: "REFUSED", codeBadVers: "BADVERS",
}

// counts are by numbers what Stats has by names.
type counts struct {
	types                                          [typeANY + 1]atomic.Int64 // 0: others
	codes                                          [codeBadVers + 1]atomic.Int64
	ways                                           [ways]atomic.Int64
	truncated, limited, slipped, stale, turnedAway atomic.Int64
}

func (c *counts) answered(q *query, code int, by via) {
	c.ways[by].Add(1)
	c.codes[code].Add(1)
	if q.end == 0 {
		return
	}
	if q.rtype > typeANY || !counted[q.rtype] {
		c.types[0].Add(1)
		return
	}
	c.types[q.rtype].Add(1)
}

var counted = func() (is [typeANY + 1]bool) {
	for t := range typeNames {
		is[t] = true
	}
	return is
}()

// Stats returns what the server has done so far.
func (s *Server) Stats() Stats {
	c := &s.counts
	st := Stats{
		Types: map[string]int64{"other": c.types[0].Load()}, Codes: map[string]int64{},
		UDP: c.ways[viaUDP].Load(), TCP: c.ways[viaTCP].Load(),
		Truncated: c.truncated.Load(), Limited: c.limited.Load(), Slipped: c.slipped.Load(), Stale: c.stale.Load(), TurnedAway: c.turnedAway.Load(),
	}
	for number, name := range typeNames {
		st.Types[name] = c.types[number].Load()
	}
	for number, name := range codeNames {
		if name != "" {
			st.Codes[name] = c.codes[number].Load()
		}
	}
	s.mu.RLock()
	st.Services = len(s.services)
	s.mu.RUnlock()
	s.conns.mu.Lock()
	st.Conns = len(s.conns.open)
	s.conns.mu.Unlock()
	return st
}
