package lease

import (
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/rollcall-io/rollcall/internal/wire"
	"github.com/rollcall-io/rollcall/internal/without"
)

// ownKey watches one key of ours: what others do to it is noticed at once, not at the next heartbeat, which would not
// see it at all.
type ownKey struct {
	k    *Keeper
	e    *entry
	from int64 // what was known when the watch was asked for; by the time it is created the entry may be further
}

// watchLocked begins to watch an entry's key, from just after what is known of it. What is to be read again may be of a
// history that has ended: then the read begins it.
func (k *Keeper) watchLocked(e *entry) {
	if without.OwnKeys || e.watch != nil || e.rev == 0 || !e.known || k.stopped {
		return
	}
	e.own = &ownKey{k: k, e: e, from: e.rev}
	e.watch = k.watches.Add(e.key, "", e.rev+1, e.own)
}

func (k *Keeper) unwatchLocked(e *entry) {
	if e.watch != nil {
		e.watch.Cancel()
		e.watch, e.own = nil, nil
	}
}

// Created implements [wire.Handler]. A store that is not as far as the watch begins was wiped or restored: the watch
// would be silent.
func (o *ownKey) Created(revision int64) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	e := o.e
	if e.own != o {
		return
	}
	e.unwatched = 0
	if revision < o.from {
		o.k.unwatchLocked(e)
		e.known = false
		o.k.dirtyLocked(e)
	}
}

// Events implements [wire.Handler]. The last event tells what lies under the key now; those before it count only when
// another keeper went on with the hold meanwhile.
func (o *ownKey) Events(events []*mvccpb.Event) {
	contents := make([]content, len(events))
	for n, event := range events {
		if event.Type != mvccpb.Event_DELETE {
			contents[n] = o.k.contentOf(event.Kv)
		}
	}
	last := len(events) - 1
	seen := observation{now: contents[last], rev: events[last].Kv.ModRevision}
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	e := o.e
	if e.own != o {
		return
	}
	for _, c := range contents {
		e.noteMove(o.k, c)
	}
	switch {
	case seen.rev <= e.rev:
	case e.busy:
		e.stash = &seen // it may be our own write: judged when that is answered
	default:
		o.k.settleLocked(e, e.hear(o.k, seen))
	}
}

// Ended implements [wire.Handler].
func (o *ownKey) Ended(err error) {
	k, e := o.k, o.e
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.own != o || k.stopped {
		return
	}
	e.watch, e.own = nil, nil
	switch {
	case errors.Is(err, wire.ErrBroken), errors.Is(err, wire.ErrCompacted):
		// What happened meanwhile is lost, or told by a store that was put back and has grown past what we know: read the
		// key, and watch from there.
		e.known = false
		k.dirtyLocked(e)
	default:
		k.Logger.Debug("own key cannot be watched, trying again", "key", e.key, "err", err)
		e.rewatch = k.laterLocked(e, min(refusalPause<<min(e.unwatched, 5), time.Minute), func() { k.watchLocked(e) })
		e.unwatched++
	}
}

// laterLocked does something about an entry after a pause, unless it is forgotten by then.
func (k *Keeper) laterLocked(e *entry, pause time.Duration, do func()) *time.Timer {
	return time.AfterFunc(pause, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !k.stopped && k.entries[e.key] == e {
			do()
		}
	})
}
