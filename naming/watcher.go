package naming

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/rollcall-io/rollcall"
)

// watcher is a [Watcher] over one of the library's.
type watcher struct {
	views *rollcall.Watcher
	begun bool // the first answer was given; touched by Next only
}

// Next implements [Watcher].
func (w *watcher) Next() ([]*Update, error) {
	for {
		view, err := w.views.Next(context.Background())
		switch {
		case errors.Is(err, rollcall.ErrClosed):
			return nil, errWatchClosed
		case err != nil:
			return nil, statusOf(context.Background(), err)
		}
		updates := updatesOf(view)
		if len(updates) > 0 || !w.begun {
			w.begun = true
			return updates, nil
		}
		// Nothing that an address shows: the view became stale, or fresh again.
	}
}

// Close implements [Watcher].
func (w *watcher) Close() { w.views.Close() }

// updatesOf tells the changes of instances as changes of addresses, the deletes first. They differ when an instance moves
// to another address, and when instances share one: the address is gone only with the last of them.
func updatesOf(view *rollcall.View) []*Update {
	var gone []*rollcall.Instance
	var updates, adds []*Update
	for _, u := range view.Updates {
		if u.Op != rollcall.Delete {
			adds = append(adds, updateOf(Add, u.Instance))
		}
		switch {
		case u.Prev == nil:
		case u.Prev.Addr != u.Instance.Addr: // the reader knows the former address only, should it be a delete
			gone = append(gone, u.Prev)
		case u.Op == rollcall.Delete:
			gone = append(gone, u.Instance)
		}
	}
	there := addrs(view, gone)
	for _, i := range gone {
		if !there[i.Addr] {
			updates = append(updates, updateOf(Delete, i))
		}
	}
	return append(updates, adds...)
}

// addrs returns the addresses in a view, if there is anything to compare them with.
func addrs(view *rollcall.View, gone []*rollcall.Instance) map[string]bool {
	if len(gone) == 0 {
		return nil
	}
	there := make(map[string]bool, len(view.Instances))
	for _, i := range view.Instances {
		there[i.Addr] = true
	}
	return there
}

func updateOf(op Operation, i *rollcall.Instance) *Update {
	return &Update{Op: op, Addr: i.Addr, Metadata: metadataOf(i)}
}

// metadataOf returns an instance's metadata as encoding/json makes it of the JSON in etcd.
func metadataOf(i *rollcall.Instance) any {
	if i.RawMetadata != nil {
		var metadata any
		_ = json.Unmarshal(i.RawMetadata, &metadata) // it is part of a value that was decoded
		return metadata
	}
	if i.Metadata == nil {
		return nil
	}
	metadata := make(map[string]any, len(i.Metadata))
	for k, v := range i.Metadata {
		metadata[k] = v
	}
	return metadata
}
