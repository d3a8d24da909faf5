package simetcd

import "slices"

// HistorySince returns History without its first n revisions: what has happened since somebody looked last.
func (c *Cluster) HistorySince(n int) []Revision {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.history[min(n, len(c.history)):])
}

// GrantLease makes a lease that nobody renews, as a stranger does who means no good or died.
func (c *Cluster) GrantLease(ttl int64) (id int64) {
	c.do(func() {
		id = c.nextID()
		c.store.leases[id] = &lease{id: id, ttl: max(ttl, minTTL), keys: map[string]bool{}}
		c.store.leases[id].refresh(0)
	})
	return id
}
