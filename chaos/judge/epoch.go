package judge

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"
)

// epoch is one store, until it is wiped or restored.
type epoch struct {
	number   int
	began    time.Duration
	floor    int64         // what was before this revision is not known
	head     int64         // the last revision told
	synced   int64         // up to which the record is known to be complete
	syncedAt time.Duration // and since when
	now      map[slot]uint64
	services map[string][]content
}

// content is what a service holds from a revision on, in brief: the readable instances that are not leaving.
type content struct {
	revision int64
	at       time.Duration
	hash     uint64
	count    int
}

// set brings the brief content of a service to a change.
func (ep *epoch) set(k slot, c change, revision int64) {
	states := ep.services[k.service]
	now := content{revision: revision, at: c.at}
	if len(states) > 0 {
		before := states[len(states)-1]
		now.hash, now.count = before.hash, before.count
	}
	if h, found := ep.now[k]; found {
		now.hash, now.count = now.hash^h, now.count-1
		delete(ep.now, k)
	}
	if c.there {
		h := sum(k.id, c.incarnation, c.state)
		ep.now[k] = h
		now.hash, now.count = now.hash^h, now.count+1
	}
	if len(states) > 0 && states[len(states)-1].revision == revision {
		states[len(states)-1] = now
	} else {
		ep.services[k.service] = append(states, now)
	}
}

// sum is an instance in brief. The sums of a set, combined by exclusive or, are the set in brief.
func sum(id, incarnation, state string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, s := range []string{id, incarnation, state} {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// at returns what a service held at a revision.
func (ep *epoch) at(service string, revision int64) content {
	states := ep.services[service]
	n, found := slices.BinarySearchFunc(states, revision, func(c content, r int64) int { return cmp.Compare(c.revision, r) })
	switch {
	case found:
		return states[n]
	case n == 0:
		return content{}
	}
	return states[n-1]
}
