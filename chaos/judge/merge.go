package judge

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// history is what has been told of one store, in brief.
type history struct {
	head    int64    // the highest revision told; a store begins at 1, without an event
	floor   int64    // up to this one the store was listed: what members tell of before is not compared
	entries []entry  // in order of revisions
	former  *history // of the store before, as long as it tells the same
}

// entry is an event in brief.
type entry struct {
	revision int64
	key      string
	sum      uint64 // of what it was and of the value and lease that it left
}

var seed = maphash.MakeSeed()

func newHistory(former *history) *history {
	if former != nil {
		former.former = nil // of the one before nobody asks any more
	}
	return &history{head: 1, former: former}
}

func brief(e *mvccpb.Event) entry {
	var h maphash.Hash
	h.SetSeed(seed)
	_ = h.WriteByte(byte(e.Type))
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(e.Kv.Lease)))
	_, _ = h.Write(e.Kv.Value)
	return entry{revision: e.Kv.ModRevision, key: string(e.Kv.Key), sum: h.Sum64()}
}

// news is an event that is told for the first time.
type news struct {
	*mvccpb.Event
	replayed bool
}

// merge takes the events that a member tells next after a revision. It returns those that are new, or an error, and
// changes nothing then, if the member tells anything else of what is known already.
func (h *history) merge(after int64, events []*mvccpb.Event) ([]news, error) {
	known := h.since(max(after, h.floor))
	var fresh []entry
	var all []news
	for _, e := range events {
		b := brief(e)
		switch {
		case b.revision <= h.floor:
		case b.revision > h.head:
			fresh = append(fresh, b)
			all = append(all, news{Event: e})
		case len(known) == 0 || known[0] != b:
			return nil, fmt.Errorf("at revision %d there is %s of %q, which differs from %s", b.revision, e.Type, b.key, first(known))
		default:
			known = known[1:]
		}
	}
	if last := events[len(events)-1].Kv.ModRevision; len(known) > 0 && known[0].revision <= last {
		return nil, fmt.Errorf("up to revision %d nothing is told of %s", last, first(known))
	}
	for n, b := range fresh {
		if h.former != nil && !h.former.has(b) {
			h.former = nil
		}
		all[n].replayed = h.former != nil
	}
	if len(fresh) > 0 {
		h.entries = append(h.entries, fresh...)
		h.head = fresh[len(fresh)-1].revision
	}
	return all, nil
}

// since returns what is known after a revision.
func (h *history) since(revision int64) []entry {
	n := sort.Search(len(h.entries), func(n int) bool { return h.entries[n].revision > revision })
	return h.entries[n:]
}

// tells reports whether anything is known of a revision.
func (h *history) tells(revision int64) bool {
	known := h.since(revision - 1)
	return len(known) > 0 && known[0].revision == revision
}

func (h *history) has(b entry) bool {
	for _, known := range h.since(b.revision - 1) {
		if known.revision > b.revision {
			break
		}
		if known == b {
			return true
		}
	}
	return false
}

func first(known []entry) string {
	if len(known) == 0 {
		return "what was told: nothing"
	}
	return fmt.Sprintf("what was told: %q at revision %d", known[0].key, known[0].revision)
}
