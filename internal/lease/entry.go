package lease

import (
	"bytes"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
	"github.com/rollcall-io/rollcall/internal/without"
)

// content is what lies under a key in etcd.
type content struct {
	Owner
	mod   int64 // revision of its last write; 0: the key is absent
	value []byte
	lease int64
}

// entry is one key on the books: what we want of it, and what we know of it. The keeper's mu guards all of it.
type entry struct {
	key string

	hold     *Hold  // who wants it; nil: nobody, it is to be gone
	value    []byte // the wanted value
	farewell []byte // what says goodbye for it
	version  int    // counts the values wanted so far
	lease    *lease // the lease to write under; one of those whose books the entry is on
	refs     int    // how many leases' books it is on

	known     bool // now holds; not set after a write of unknown outcome
	now       content
	rev       int64         // etcd's revision at which now was so; 0 while now is a guess
	written   int           // the version that was last confirmed to be in etcd
	busy      bool          // a write or read is in flight
	queued    bool          // it stands in its lease's dirty queue
	alone     bool          // etcd refused a transaction that it was part of: next time it goes alone
	refusal   error         // etcd's last definite no
	refused   int           // how many it has said in a row
	stash     *observation  // the newest event that came while busy
	watch     *wire.Watch   // on the key itself
	own       *ownKey       // the handler of that watch
	rewatch   *time.Timer   // watches again after a refusal
	unwatched int           // refusals of the watch in a row
	pending   chan struct{} // closed when the hold that is new has the key, or has given up; nil: none is new
	missing   time.Time     // since when the hold's key is not there, as far as is known; zero while it is
	detached  bool          // nobody wants it, and it is to stay
	late      bool          // a write of unknown outcome may still arrive: it stays on the books until they are closed
	progress  chan struct{} // closed and replaced whenever something happened

	// Ownership. A first write replaces what its first read finds; later ones replace nothing, our own, or what the first
	// one replaced.
	first    bool     // the key has not been read for this hold yet
	replaces string   // incarnation that the first read found
	epoch    int      // of etcd's history in which the hold last had the key
	wrote    int64    // revision of the hold's own last write
	contest  *contest // with what a broken history brought back; nil: none
	moved    int64    // revision of the newest write that was heard of by which another keeper went on with the hold; 0: none

	farewellDone bool // the goodbye was written, or etcd refused it
}

// observation is what an event on our own key, or a read, told.
type observation struct {
	now content
	rev int64
}

// contest is a key that another holder has after etcd's history broke. It may be a ghost, of a holder that this one
// replaced or outlived: that ends with its lease. One that outlives its TTL is alive.
type contest struct {
	mod   int64  // the write that was found
	epoch int    // of etcd's history, in which it was found
	term  uint64 // whose leader has given its lease the full time
	over  bool   // it has had its time
	timer *time.Timer
}

// ghostGrace is what a ghost gets beside its TTL: a lease ends up to a second late.
const ghostGrace = 2 * time.Second

func (e *entry) want(value, farewell []byte) {
	e.value, e.farewell = value, farewell
	e.version++
}

func (e *entry) signal() {
	close(e.progress)
	e.progress = make(chan struct{})
}

// step is what to do next about a key.
type step uint8

const (
	nothing step = iota
	read
	put     // the wanted value
	goodbye // the farewell
	remove
)

func (e *entry) step(k *Keeper) step {
	switch {
	case e.settled(k):
		return nothing
	case !e.known, e.resuming():
		return read
	case e.hold != nil && e.contest != nil:
		return nothing
	case e.hold != nil:
		return put
	case !e.farewellDone && e.farewell != nil:
		return goodbye
	default:
		return remove
	}
}

// resuming reports whether the hold is to take over a key that it has not read yet.
func (e *entry) resuming() bool { return e.hold != nil && e.first && e.hold.resumes }

// settled reports whether etcd holds what we want of the key.
func (e *entry) settled(k *Keeper) bool {
	switch {
	case e.busy:
		return false
	case e.detached && e.hold == nil:
		return true
	case !e.known || e.resuming():
		return false
	case e.hold != nil:
		return e.rev != 0 && e.written == e.version && e.now.mod != 0 && e.now.lease == e.lease.id
	case e.now.mod == 0:
		return true
	case e.now.Holder != k.Holder && e.now.lease != e.lease.id:
		return true // another's: not ours to touch
	default:
		return k.closing && e.farewellDone && !e.lease.detached // the revocation does the rest
	}
}

// note keeps account of whether a wanted key is there, under whichever lease of ours.
func (e *entry) note(k *Keeper) {
	switch {
	case e.hold == nil, !e.known:
	case e.now.mod != 0 && e.now.Holder == k.Holder && k.leaseOf(e.now.lease) != nil:
		if k.Healed != nil && !e.missing.IsZero() && e.pending == nil { // not on its first way there
			k.Healed(e.key, e.missing)
		}
		e.missing = time.Time{}
	case e.missing.IsZero():
		e.missing = time.Now()
	}
}

// observe takes note of what lies under the key, and returns why the hold ends, if it does. Asked says that the hold
// itself asked, by a transaction that was begun for it: only that is its first read. An event, or the answer to what a
// former hold asked, may be older than the hold.
func (e *entry) observe(k *Keeper, o observation, asked bool) error {
	if e.now.mod == 0 {
		e.farewellDone = false // should it be ours and unwanted, it came late: it is seen, so it says goodbye
	}
	e.known, e.now, e.rev = true, o.now, o.rev
	e.written = 0
	if e.now.mod != 0 && e.hold != nil && bytes.Equal(e.now.value, e.value) {
		e.written = e.version
	}
	e.now.value = nil // compared, and not needed again
	if e.hold == nil || e.first && !asked {
		return nil
	}
	first := e.first
	e.first = false
	if first && e.hold.resumes {
		switch {
		case e.now.mod == 0:
			return ErrAbsent
		case e.now.Incarnation != e.hold.incarnation:
			return ErrReplaced
		}
	}
	if first && e.now.Incarnation != "" && e.now.Incarnation != e.hold.incarnation {
		e.replaces = e.now.Incarnation
	}
	if first || !e.foreign(k, e.now) {
		e.settleContest()
		if e.goneElsewhere() && e.epoch == k.epoch && e.rev >= e.moved {
			return ErrMoved
		}
		return nil
	}
	return e.judgeForeign(k)
}

// hear takes note of an event. It does not tell in which history it happened: whether it ends the hold a read decides.
func (e *entry) hear(k *Keeper, o observation) error {
	if e.hold != nil && !e.first && (e.foreign(k, o.now) || o.now.mod == 0 && e.goneElsewhere()) {
		e.known = false
		return nil
	}
	return e.observe(k, o, false)
}

// goneElsewhere reports whether another keeper went on with the hold, after our last write, and the key has gone since: that one has said
// goodbye, or lost its lease. To put the key back would undo it.
func (e *entry) goneElsewhere() bool { return e.now.mod == 0 && e.moved > e.wrote }

// noteMove remembers content by which another keeper went on with the hold, also when it is not there any more.
func (e *entry) noteMove(k *Keeper, c content) {
	if e.hold != nil && c.mod != 0 && c.Holder != k.Holder && c.Incarnation == e.hold.incarnation && !without.Ownership {
		e.moved = max(e.moved, c.mod)
	}
}

// foreign reports whether content is another registration's, not the one that was replaced; or ours, that moved to
// another keeper and goes on there.
func (e *entry) foreign(k *Keeper, c content) bool {
	switch {
	case without.Ownership, c.mod == 0, c.Incarnation == "", c.Holder == k.Holder:
		return false
	}
	return c.Incarnation == e.hold.incarnation || c.Incarnation != e.replaces
}

// judgeForeign decides about a key that another holder has. In an unbroken history it has taken the key over, later than our
// own last write.
func (e *entry) judgeForeign(k *Keeper) error {
	c := e.contest
	switch {
	case c == nil && e.epoch == k.epoch && e.now.mod > e.wrote && e.now.Incarnation == e.hold.incarnation:
		return ErrMoved
	case c == nil && e.epoch == k.epoch && e.now.mod > e.wrote:
		return ErrReplaced
	case c == nil || c.epoch != k.epoch || e.now.mod < c.mod:
		e.contestLocked(k) // what this history has brought back
	case e.now.mod == c.mod && c.over && c.term != k.term:
		e.contestLocked(k) // a leader was elected meanwhile, and gave its lease the full time anew
	case e.now.mod > c.mod || c.over:
		return ErrReplaced // it is written or renewed: its holder lives
	}
	return nil
}

// contestLocked gives what was found under the key the time in which a ghost ends.
func (e *entry) contestLocked(k *Keeper) {
	e.settleContest()
	c := &contest{mod: e.now.mod, epoch: k.epoch, term: k.term}
	c.timer = k.laterLocked(e, e.now.TTL+ghostGrace, func() {
		if e.contest == c {
			c.over, e.known = true, false
			k.dirtyLocked(e)
		}
	})
	e.contest = c
}

func (e *entry) settleContest() {
	if e.contest != nil {
		e.contest.timer.Stop()
		e.contest = nil
	}
}

// contentOf reads a key-value pair; nil is an absent key.
func (k *Keeper) contentOf(kv *mvccpb.KeyValue) content {
	if kv == nil {
		return content{}
	}
	return content{Owner: k.Owner(kv.Value), mod: kv.ModRevision, value: kv.Value, lease: kv.Lease}
}

// ops returns the parts of a transaction that carry out a step: under which condition, what, and what else.
func (e *entry) ops(s step, lease int64) (cond *clientv3.Cmp, then, otherwise clientv3.Op) {
	get := clientv3.OpGet(e.key)
	unchanged := clientv3.Compare(clientv3.ModRevision(e.key), "=", e.now.mod)
	under := clientv3.WithLease(clientv3.LeaseID(lease))
	if without.Lease {
		under = clientv3.WithLease(clientv3.NoLease)
	}
	switch s {
	case put:
		return &unchanged, clientv3.OpPut(e.key, string(e.value), under), get
	case goodbye:
		return &unchanged, clientv3.OpPut(e.key, string(e.farewell), under), get
	case remove:
		return &unchanged, clientv3.OpDelete(e.key), get
	default:
		return nil, get, get
	}
}
