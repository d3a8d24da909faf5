package history

import (
	"context"
	"time"
)

// vanished is a key that was deleted without a word, of which nobody knows yet whether its lease ran out.
type vanished struct {
	key      key
	revision int64
	lease    int64
	here     *presence // of an instance
	checked  *finding  // of a check's finding
}

// living is which leases lived as of a revision.
type living struct {
	leases   map[int64]struct{}
	revision int64
	failed   bool // nobody is asked again for now
}

// vanish tells that an instance's key went away without a goodbye.
func (t *tracker) vanish(k key, p *presence, revision int64) {
	if t.former == nil || p.told {
		t.ask(vanished{key: k, revision: revision, lease: p.lease, here: p})
	}
	if f := t.checked[k]; f != nil && f.lease == 0 {
		delete(t.checked, k)
	}
}

// ask finds out why a key was deleted: at once, by asking etcd, when it has just happened. Of the past it waits for the rest of the revision: a
// lease that runs out takes all its keys with it.
func (t *tracker) ask(v vanished) {
	if v.lease != 0 && t.seen(t.h.now()) {
		ctx, cancel := context.WithTimeout(t.ctx, time.Second)
		defer cancel()
		if alive, err := t.h.reg.LeaseAlive(ctx, v.lease); err == nil {
			t.tellVanished(v, alive)
			return
		}
		t.live = false // not to wait for each of many
	}
	t.pending = append(t.pending, v)
}

// decide tells of all deletes of the revision that was told last.
func (t *tracker) decide() {
	for _, v := range t.pending {
		t.tellVanished(v, v.lease == 0 || t.leases[v.lease] > 0 || t.lives(v.lease, v.revision))
	}
	t.pending = t.pending[:0]
}

// lives reports whether a lease has outlived a revision of the past, as far as etcd can tell.
func (t *tracker) lives(lease, revision int64) bool {
	if t.living.revision < revision && !t.living.failed {
		ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
		defer cancel()
		leases, at, err := t.h.reg.Leases(ctx)
		t.living = living{make(map[int64]struct{}, len(leases)), at, err != nil}
		for _, id := range leases {
			t.living.leases[id] = struct{}{}
		}
	}
	_, alive := t.living.leases[lease]
	return alive && t.living.revision >= revision
}

func (t *tracker) tellVanished(v vanished, leaseLives bool) {
	if v.checked != nil {
		t.checkEnded(v, leaseLives)
		return
	}
	kind := Expired
	if leaseLives && !v.here.tended {
		kind = Removed
	}
	t.gone.add(v.key, v.here.who.incarnation)
	t.note(kind, v.revision, v.here.who, nil, span{since: v.here.registered})
}
