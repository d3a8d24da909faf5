package follow

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// relist is one list of a follower's prefix, compared with what was known before. It runs while no watch is open: nobody
// else writes what is known.
type relist struct {
	f     *Follower
	held  Header // where etcd was known to be when the list was asked for
	epoch int    // of etcd's history, then and after begin

	reset       bool // the list is of another history than what is known
	contradicts bool // so it turned out in the middle of it
	found       map[string]int64
	sum         sum
	changes     []Change
}

// errHistory ends a list during which etcd's history was found to have broken: what it compared with is no measure.
var errHistory = errors.New("etcd's history broke during a list")

// list reads the prefix and applies what is different from what was known.
func (f *Follower) list(ctx context.Context) (err error) {
	asked := f.takeWaiting()
	for range 3 { // a history that breaks again and again is trouble
		r := &relist{f: f}
		r.held, r.epoch = f.source.newest()
		if h, epoch := f.position(); epoch == r.epoch && h.Revision > r.held.Revision {
			r.held = h // what is held of a history that is known to have ended proves no further break
		}
		var at Header
		if at, err = f.source.List(ctx, f.prefix, r.begin, r.visit); err == nil {
			err = r.apply(at, asked)
		}
		if !errors.Is(err, errHistory) {
			break
		}
	}
	if err != nil {
		f.putBackWaiting(asked)
	}
	return err
}

// begin is told where the list is from.
func (r *relist) begin(at Header, keys int64) {
	r.found = make(map[string]int64, keys)
	f := r.f
	r.epoch = f.source.note(at, r.held, r.epoch)
	r.reset = at.Before(f.at) || at.Revision < f.revision || f.listed && r.epoch != f.epoch
}

func (r *relist) visit(_ Header, kv *mvccpb.KeyValue) {
	f, key := r.f, string(kv.Key)
	r.found[key] = kv.ModRevision
	r.sum.toggle(key, kv.ModRevision)
	same := f.known[key] == kv.ModRevision
	if same && !r.reset { // in another history the same revision is another write
		return
	}
	// All that was written up to our revision is known. What is not was written in another history, that has grown since.
	if !same && kv.ModRevision <= f.revision && f.listed && !f.diverged && !r.reset {
		r.contradicts = true
	}
	r.changes = append(r.changes, Change{
		Key: key, Read: f.sink.Read(key, kv.Value), Revision: kv.ModRevision, CreateRevision: kv.CreateRevision, Lease: kv.Lease,
	})
}

// apply tells the sink the difference, and those who asked for a list that they have it.
func (r *relist) apply(at Header, asked []chan struct{}) error {
	f := r.f
	if r.contradicts {
		f.lost(f.source.broke(at, r.epoch), at)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.epoch < f.needed {
		return errHistory
	}
	for key := range f.known {
		if _, still := r.found[key]; !still {
			r.changes = append(r.changes, Change{Key: key, Deleted: true, Revision: at.Revision})
		}
	}
	f.known, f.sum, f.at, f.revision, f.epoch = r.found, r.sum, at, at.Revision, r.epoch
	f.lists++
	f.listed, f.forbidden, f.diverged = true, false, false
	f.sink.Apply(Batch{Header: at, Changes: r.changes, Relisted: true, Reset: r.reset})
	f.freshLocked() // the list is current, whatever becomes of the watch
	for _, done := range asked {
		close(done)
	}
	return nil
}
