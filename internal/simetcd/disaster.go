package simetcd

import (
	"maps"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Snapshot is a copy of the store, for Restore.
type Snapshot struct{ store *store }

// Revision returns the revision at which the snapshot was taken.
func (s *Snapshot) Revision() int64 { return s.store.revision }

// Snapshot copies the store.
func (c *Cluster) Snapshot() *Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Snapshot{c.store.clone()}
}

// Restore restarts all members on a snapshot: the cluster id is the same, the term starts over. With a bump, revisions
// go on that much later than they were and all before is compacted, as `etcdutl snapshot restore --bump-revision
// --mark-compacted` does; with 0 they are used a second time.
func (c *Cluster) Restore(s *Snapshot, bump int64) {
	restored := s.store.clone()
	if bump > 0 {
		restored.revision += bump
		restored.compacted = restored.revision
	}
	c.replace(restored)
}

// Wipe restarts all members on an empty store: the cluster id is the same, revisions and the term start over.
func (c *Cluster) Wipe() { c.replace(newStore()) }

func (c *Cluster) replace(s *store) {
	for _, m := range c.members {
		m.Kill()
	}
	c.do(func() {
		c.store, c.leader, c.term = s, nil, 1
		c.era++
		for _, m := range c.members {
			m.isolated, m.lagging = false, false
		}
	})
	for _, m := range c.members {
		m.Start()
	}
}

// Compact drops all history before the present revision, which it returns.
func (c *Cluster) Compact() (revision int64) {
	c.do(func() {
		c.store.compacted = c.store.revision
		revision = c.store.revision
	})
	return revision
}

// RevokeLease ends a lease and deletes its keys, as an operator does. An unknown lease is an error.
func (c *Cluster) RevokeLease(id int64) (err error) {
	c.do(func() { err = c.revoke(id, "test") })
	return err
}

// DeleteKey deletes a key, as an operator does, and reports whether it existed.
func (c *Cluster) DeleteKey(key string) (existed bool) {
	c.do(func() {
		w := c.store.begin()
		existed = len(w.delete([]byte(key), nil)) > 0
		c.commit(w, "test")
	})
	return existed
}

// PutKey writes a key under a lease, or under none when that is 0. An unknown lease is an error.
func (c *Cluster) PutKey(key, value string, lease int64) (err error) {
	c.do(func() {
		if lease != 0 && c.store.leases[lease] == nil {
			err = rpctypes.ErrGRPCLeaseNotFound
			return
		}
		w := c.store.begin()
		w.put(key, []byte(value), lease)
		c.commit(w, "test")
	})
	return err
}

// NoSpace arms or disarms the alarm that etcd raises when its disk quota is used up: puts and grants are refused,
// deletes, revocations and renewals are not.
func (c *Cluster) NoSpace(on bool) { c.do(func() { c.store.noSpace = on }) }

// AddUser adds a user, or changes one, with a role of his name that grants the given permissions. The user root has the
// role root.
func (c *Cluster) AddUser(name, password string, permissions ...*authpb.Permission) {
	c.do(func() {
		a := c.store.auth
		a.revision++
		a.users[name] = &user{password: password, roles: []string{name}}
		if name != root {
			a.roles[name] = permissions
		}
	})
}

// EnableAuth switches auth on. As in etcd there must be a user root, see AddUser.
func (c *Cluster) EnableAuth() (err error) {
	c.do(func() { err = c.store.auth.enable() })
	return err
}

// SetPermission replaces the permissions of a role. Streams that are open keep what they were allowed.
func (c *Cluster) SetPermission(role string, permissions ...*authpb.Permission) {
	c.do(func() {
		c.store.auth.revision++
		c.store.auth.roles[role] = permissions
	})
}

// ExpireTokens makes every auth token invalid that was given out.
func (c *Cluster) ExpireTokens() {
	c.do(func() {
		for _, m := range c.members {
			maps.DeleteFunc(m.tokens, func(string, *token) bool { return true })
		}
	})
}

// Permission returns the permission to read and write all keys with a prefix.
func Permission(prefix string) *authpb.Permission {
	return &authpb.Permission{
		PermType: authpb.READWRITE, Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix)),
	}
}
