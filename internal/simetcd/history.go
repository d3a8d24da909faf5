package simetcd

import (
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Revision is one change of the store, as it was committed. It must not be changed.
type Revision struct {
	Era      int // counts wipes and restores: revisions of different eras have nothing to do with each other
	Revision int64
	At       time.Time
	Cause    string // "client", "expiry" (of a lease), "revoke" (by a client) or "test"
	Events   []*mvccpb.Event
}

// History returns every revision ever committed, those included that a wipe, a restore or a compaction took from
// clients. It is the truth to hold a view against.
func (c *Cluster) History() []Revision {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.history)
}

// Era returns how often the store was wiped or restored.
func (c *Cluster) Era() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.era
}

// Keys returns what lies in the store under a prefix now, whatever members and clients know of it.
func (c *Cluster) Keys(prefix string) map[string]*mvccpb.KeyValue {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := map[string]*mvccpb.KeyValue{}
	for _, name := range c.store.names {
		if kv := c.store.get(name, c.store.revision); kv != nil && len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			keys[name] = kv
		}
	}
	return keys
}

// Leases returns the ids of all leases, in order.
func (c *Cluster) Leases() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store.leaseIDs()
}

// Revision returns the store's revision.
func (c *Cluster) Revision() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store.revision
}

// Request is a request that reached a member; one that was lost on its way is none.
type Request struct {
	At     time.Time
	Member string
	Kind   string // the method, such as "Range", "RangeStream" or "Txn"; "LeaseKeepAlive" and "WatchCreate" per message
}

// Requests returns all requests since the beginning.
func (c *Cluster) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Count returns how many requests of a kind have reached any member.
func (c *Cluster) Count(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.requests {
		if r.Kind == kind {
			n++
		}
	}
	return n
}
