package simetcd

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// store is what etcd keeps on its disks: every key at every revision, the leases, the alarm, the users. The cluster's
// mutex guards it. Key-value pairs are never changed once written and may be handed out.
type store struct {
	revision  int64
	compacted int64 // reads and watches from before it are refused
	names     []string
	versions  map[string][]version // by key, oldest first
	log       []Revision
	leases    map[int64]*lease
	noSpace   bool
	auth      *auth
}

// version is a key as one revision left it.
type version struct {
	revision int64
	kv       *mvccpb.KeyValue // nil: deleted
}

func newStore() *store {
	return &store{revision: 1, versions: map[string][]version{}, leases: map[int64]*lease{}, auth: newAuth()}
}

// clone returns a copy that shares nothing with s that can change.
func (s *store) clone() *store {
	copied := *s
	copied.names, copied.log = slices.Clone(s.names), slices.Clone(s.log)
	copied.versions = make(map[string][]version, len(s.versions))
	for key, versions := range s.versions {
		copied.versions[key] = slices.Clone(versions)
	}
	copied.leases = make(map[int64]*lease, len(s.leases))
	for id, l := range s.leases {
		copied.leases[id] = &lease{id: l.id, ttl: l.ttl, expiry: l.expiry, keys: maps.Clone(l.keys)}
	}
	copied.auth = s.auth.clone()
	return &copied
}

// get returns a key as it was at a revision, nil when it did not exist.
func (s *store) get(key string, at int64) *mvccpb.KeyValue {
	versions := s.versions[key]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].revision <= at {
			return versions[i].kv
		}
	}
	return nil
}

// list returns the keys of a range as they were at a revision, in order.
func (s *store) list(key, end []byte, at int64) []*mvccpb.KeyValue {
	if len(end) == 0 {
		if kv := s.get(string(key), at); kv != nil {
			return []*mvccpb.KeyValue{kv}
		}
		return nil
	}
	var kvs []*mvccpb.KeyValue
	for _, name := range s.names[sort.SearchStrings(s.names, string(key)):] {
		if !within(name, string(key), string(end)) {
			break
		}
		if kv := s.get(name, at); kv != nil {
			kvs = append(kvs, kv)
		}
	}
	return kvs
}

// within reports whether a key lies in a range as etcd writes them: no end is one key, an end of one zero byte is
// everything from key on.
func within(name, key, end string) bool {
	switch end {
	case "":
		return name == key
	case "\x00":
		return name >= key
	}
	return name >= key && name < end
}

// since returns the revisions from first to last, both included.
func (s *store) since(first, last int64) []Revision {
	from := sort.Search(len(s.log), func(i int) bool { return s.log[i].Revision >= first })
	to := sort.Search(len(s.log), func(i int) bool { return s.log[i].Revision > last })
	return s.log[from:max(from, to)]
}

// write is a revision in the making. Its own reads see it at its revision.
type write struct {
	store    *store
	revision int64
	events   []*mvccpb.Event
}

func (s *store) begin() *write { return &write{store: s, revision: s.revision + 1} }

func (w *write) put(key string, value []byte, leaseID int64) {
	s := w.store
	kv := &mvccpb.KeyValue{
		Key: []byte(key), Value: value, Lease: leaseID, CreateRevision: w.revision, ModRevision: w.revision, Version: 1,
	}
	if previous := s.get(key, w.revision); previous != nil {
		kv.CreateRevision, kv.Version = previous.CreateRevision, previous.Version+1
		s.detach(previous)
	}
	if l := s.leases[leaseID]; l != nil {
		l.keys[key] = true
	}
	w.record(key, kv, &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv})
}

func (w *write) delete(key, end []byte) (deleted []*mvccpb.KeyValue) {
	s := w.store
	deleted = s.list(key, end, w.revision)
	for _, kv := range deleted {
		s.detach(kv)
		tombstone := &mvccpb.KeyValue{Key: kv.Key, ModRevision: w.revision}
		w.record(string(kv.Key), nil, &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: tombstone})
	}
	return deleted
}

func (w *write) record(key string, kv *mvccpb.KeyValue, event *mvccpb.Event) {
	s := w.store
	if _, known := s.versions[key]; !known {
		i, _ := slices.BinarySearch(s.names, key)
		s.names = slices.Insert(s.names, i, key)
	}
	s.versions[key] = append(s.versions[key], version{w.revision, kv})
	w.events = append(w.events, event)
}

// current returns the revision of an answer given now: that of the write as soon as it has written anything.
func (w *write) current() int64 {
	if len(w.events) > 0 {
		return w.revision
	}
	return w.store.revision
}

// detach takes a key off the books of its lease.
func (s *store) detach(kv *mvccpb.KeyValue) {
	if l := s.leases[kv.Lease]; l != nil {
		delete(l.keys, string(kv.Key))
	}
}

// commit makes the write visible, if it wrote anything. The caller holds the mutex.
func (c *Cluster) commit(w *write, cause string) {
	if len(w.events) == 0 {
		return
	}
	revision := Revision{Era: c.era, Revision: w.revision, At: time.Now(), Cause: cause, Events: w.events}
	w.store.revision = w.revision
	w.store.log = append(w.store.log, revision)
	c.history = append(c.history, revision)
}

// expired returns the ids of at most n leases that ran out, those first that did so first.
func (s *store) expired(n int) []int64 {
	now := time.Now()
	var expired []*lease
	for _, l := range s.leases {
		if !l.expiry.After(now) {
			expired = append(expired, l)
		}
	}
	slices.SortFunc(expired, func(a, b *lease) int {
		return cmp.Or(a.expiry.Compare(b.expiry), cmp.Compare(a.id, b.id))
	})
	var ids []int64
	for _, l := range expired[:min(n, len(expired))] {
		ids = append(ids, l.id)
	}
	return ids
}
