package judge

import (
	"context"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// compacted goes on where a member's history begins. It tells whether to watch again at once.
func (m *member) compacted(ctx context.Context, client *clientv3.Client, revision int64) bool {
	r := m.r
	r.listing.Lock()
	r.mu.Lock()
	h := r.history
	told, untouched := h.head >= revision, len(h.entries) == 0 && h.floor == 0
	if told { // by others
		m.cursor, m.bare = h.head, h.head == revision
	}
	r.mu.Unlock()
	if told || !untouched {
		r.listing.Unlock()
		if !told {
			m.doubt(ctx, &doubt{compacted: revision})
		}
		return true
	}
	defer r.listing.Unlock()
	if _, err := r.list(ctx, client, revision); err != nil {
		return false
	}
	m.cursor = revision
	return true
}

// list tells everything that the store holds at a revision, or now if that is 0, and returns the revision. What is told
// next is what came after it. The caller holds listing.
func (r *Recorder) list(ctx context.Context, client *clientv3.Client, revision int64) (int64, error) {
	var kvs []*mvccpb.KeyValue
	for from := "\x00"; ; {
		page, err := client.Get(ctx, from, clientv3.WithFromKey(), clientv3.WithRev(revision), clientv3.WithLimit(2000))
		if err != nil {
			return 0, err
		}
		if revision == 0 {
			revision = page.Header.Revision
		}
		if kvs = append(kvs, page.Kvs...); !page.More {
			break
		}
		from = string(kvs[len(kvs)-1].Key) + "\x00"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kv := range kvs {
		e := r.put(kv)
		e.Name = Listed
		r.out.Tell(e)
	}
	r.out.Tell(journal.Event{What: Floor, Epoch: r.epoch, Revision: revision})
	r.history.head, r.history.floor, r.history.former = revision, revision, nil
	r.broadcast()
	return revision, nil
}
