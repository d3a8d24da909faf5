package judge

import "fmt"

const ruleBack = "a live instance that is not in etcd is back as soon as its process can reach etcd"

// checkBack: I4.
func checkBack(r *run) {
	if r.expect.Back == 0 {
		return
	}
	for k, stays := range r.stays {
		for _, s := range stays {
			there := r.store.presence(k, func(c change) bool { return r.standsFor(s, c) })
			for _, absent := range gaps(span{s.from, min(s.to, r.end)}, there) {
				if deadline := calm(absent.from, r.expect.Back, s.life.unreachable, r.outages, r.rewrites); absent.to > deadline {
					r.report(Violation{
						Invariant: "I4", Rule: ruleBack, At: deadline, Service: s.service, ID: s.id, Process: s.life.process,
						Detail: fmt.Sprintf("not in etcd from %s to %s", clock(absent.from-r.began), r.until(absent.to)),
					})
				}
			}
		}
	}
}

// standsFor reports whether an instance need not be put back over a key as it is: because it is its own, or that of
// another process, to which it has to yield.
func (r *run) standsFor(s *stay, c change) bool {
	if s.is(c.incarnation) {
		return true
	}
	if other := r.owner(s.slot, c.incarnation); other != nil {
		return other != s
	}
	return r.rivals(s.life, s.slot, c.at)
}
