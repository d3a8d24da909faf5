package lease

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
	"github.com/rollcall-io/rollcall/internal/without"
)

// refusalPause is how long something rests that etcd refused outright, as for lack of permission, before it is tried again.
const refusalPause = 2 * time.Second

// restAfter returns how long a write rests that etcd has refused so many times in a row. What waits for space or a login
// is everybody's trouble, and soon over; what waits for a permission is its own.
func restAfter(refused int, err error) time.Duration {
	d := refusalPause
	if errors.Is(wire.EtcdError(err), rpctypes.ErrPermissionDenied) {
		d = min(d<<min(refused, 4), maxRest)
	}
	return d*3/4 + rand.N(d/2)
}

const maxRest = 20 * time.Second // with what restAfter adds, 25 s

// job is one step of one entry, as it was decided when the transaction was made.
type job struct {
	e           *entry
	step        step
	version     int
	incarnation string
	hold        *Hold // for whom it was begun
	lease       *lease
}

func (k *Keeper) writeLoop() {
	for jobs := k.take(); jobs != nil; jobs = k.take() {
		answered := k.commit(jobs)
		k.mu.Lock()
		switch {
		case !answered:
			k.restLocked()
		case slices.ContainsFunc(jobs, func(j job) bool { return j.step != read }):
			k.failures = 0 // that reads are answered does not mean that writes are
		}
		k.mu.Unlock()
	}
}

// restLocked has all writers pause after a transaction that was not answered: each on its own, they would take turns at
// what failed.
func (k *Keeper) restLocked() {
	pause := wire.Backoff(k.failures)
	k.failures++
	k.resume = time.Now().Add(pause)
	time.AfterFunc(pause, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.work.Broadcast()
	})
}

// take waits for work and returns up to a transaction of it, all under one lease; nil when the keeper has stopped.
func (k *Keeper) take() []job {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		if k.stopped {
			return nil
		}
		if jobs := k.takeLocked(); jobs != nil {
			return jobs
		}
		k.work.Wait()
	}
}

func (k *Keeper) takeLocked() []job {
	if time.Now().Before(k.resume) {
		return nil
	}
	for _, l := range k.leases {
		if jobs := k.takeFromLocked(l); len(jobs) > 0 {
			if len(l.dirty) > 0 {
				k.work.Signal()
			}
			return jobs
		}
	}
	return nil
}

func (k *Keeper) takeFromLocked(l *lease) []job {
	if l.state != alive {
		return nil
	}
	var jobs []job
	bytes := 0
	for len(l.dirty) > 0 && len(jobs) < maxBatch {
		e := l.dirty[0]
		bytes += len(e.value) + len(e.farewell) + 3*len(e.key)
		if len(jobs) > 0 && (e.alone || bytes > maxBatchBytes) {
			break
		}
		l.dirty = l.dirty[1:]
		if e.lease != l || !e.queued {
			continue // it stands in another queue by now
		}
		e.queued = false
		s := e.step(k)
		if s == nothing {
			e.signal()
			continue
		}
		jobs = append(jobs, k.beginLocked(e, s))
		if e.alone {
			break
		}
	}
	if len(jobs) == 0 {
		k.retireLocked(l)
	}
	return jobs
}

func (k *Keeper) beginLocked(e *entry, s step) job {
	e.busy = true
	j := job{e: e, step: s, version: e.version, hold: e.hold, lease: e.lease}
	if e.hold != nil {
		j.incarnation = e.hold.incarnation
	}
	return j
}

// commit carries out the jobs in one transaction and reports whether etcd answered in a useful way.
func (k *Keeper) commit(jobs []job) bool {
	var conds []clientv3.Cmp
	var thens, elses []clientv3.Op
	k.mu.Lock()
	for _, j := range jobs {
		cond, then, otherwise := j.e.ops(j.step, j.lease.id)
		if cond != nil {
			conds = append(conds, *cond)
		}
		thens, elses = append(thens, then), append(elses, otherwise)
	}
	held := k.at
	k.mu.Unlock()

	resp, err := k.transact(conds, thens, elses)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		return k.failedLocked(jobs, err)
	}
	k.reachedLocked()
	k.atLocked(wire.HeaderOf(resp.Header), held)
	for n, j := range jobs {
		k.doneLocked(j, resp.Succeeded, resp.Responses[n], resp.Header.Revision)
	}
	return true
}

// atLocked notes where etcd is, by the answer to a transaction or a grant, beside where it was known to be when that was sent.
func (k *Keeper) atLocked(now, held wire.Header) {
	k.term = now.Term
	switch {
	case now.Before(held):
		k.at = now
		k.epoch++
		k.reach.back = time.Now()
		k.beginAnewLocked(now.Term)
		k.Logger.Warn("etcd's history broke: it was wiped, or restored", "revision", now.Revision, "held", held.Revision)
	case now.Revision > k.at.Revision:
		k.at = now
	}
}

// writeLimit is how long a write may take.
func writeLimit() time.Duration {
	if without.Patience {
		return 200 * time.Millisecond
	}
	return writeTimeout
}

func (k *Keeper) transact(conds []clientv3.Cmp, thens, elses []clientv3.Op) (*clientv3.TxnResponse, error) {
	conn, err := k.Line.Conn()
	if err != nil {
		return nil, err
	}
	ctx, cancel := conn.Call(k.ctx, writeLimit())
	defer cancel()
	resp, err := conn.KV().Txn(ctx).If(conds...).Then(thens...).Else(elses...).Commit()
	if err != nil && !wire.IsRefusal(err) && !errors.Is(wire.EtcdError(err), rpctypes.ErrLeaseNotFound) && k.ctx.Err() == nil {
		k.Line.DropAfter(conn, err)
		return nil, fmt.Errorf("%s: %w", conn.Endpoint, err)
	}
	if err == nil {
		conn.Heard()
	}
	return resp, err
}

// doneLocked takes note of what a transaction did, or found.
func (k *Keeper) doneLocked(j job, succeeded bool, resp *etcdserverpb.ResponseOp, rev int64) {
	e := j.e
	e.refusal, e.refused, e.alone = nil, 0, false
	var end error
	switch {
	case !succeeded || j.step == read:
		end = e.observe(k, observation{now: k.contentOf(only(resp.GetResponseRange().GetKvs())), rev: rev}, j.hold == e.hold)
	case j.step == put:
		if e.first && j.hold == e.hold {
			e.first, e.replaces = false, e.now.Incarnation
		}
		e.known, e.rev, e.written = true, rev, j.version
		e.epoch, e.wrote = k.epoch, rev
		e.now = content{Owner: Owner{Incarnation: j.incarnation, Holder: k.Holder}, mod: rev, lease: j.lease.id}
	case j.step == goodbye:
		e.known, e.rev, e.now.mod = true, rev, rev
		e.farewellDone = e.hold == nil
	case j.step == remove:
		e.known, e.rev, e.now = true, rev, content{}
	}
	k.finishLocked(e, end)
}

func only(kvs []*mvccpb.KeyValue) *mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0]
}

// finishLocked ends the flight of an entry: events that came meanwhile are judged, and what is still to do is queued.
func (k *Keeper) finishLocked(e *entry, end error) {
	e.busy = false
	if s := e.stash; s != nil && end == nil && e.known && s.rev > e.rev {
		end = e.hear(k, *s)
	}
	e.stash = nil
	k.settleLocked(e, end)
}

// settleLocked acts on what was learnt about an entry.
func (k *Keeper) settleLocked(e *entry, end error) {
	e.note(k)
	if end != nil && e.hold != nil {
		if e.wrote != 0 {
			k.Logger.Info("key taken over by another registration", "key", e.key)
		}
		k.unwantLocked(e, end)
	}
	if k.entries[e.key] != e {
		e.signal() // its lease ended meanwhile
		return
	}
	leases := slices.DeleteFunc(slices.Clone(k.leases), func(l *lease) bool { return l.books[e.key] != e })
	switch {
	case !e.settled(k):
		k.watchLocked(e)
		k.dirtyLocked(e)
	case e.hold == nil && e.now.mod == 0 && !e.late:
		k.forgetLocked(e) // gone, and nothing can bring it back
	default:
		k.watchLocked(e)
	}
	e.signal()
	for _, l := range leases {
		k.retireLocked(l)
	}
}

// failedLocked decides what an error means for the jobs it struck, and reports whether trying on at once makes sense.
func (k *Keeper) failedLocked(jobs []job, err error) bool {
	switch {
	case errors.Is(wire.EtcdError(err), rpctypes.ErrLeaseNotFound):
		jobs[0].lease.loseLocked() // by now the entries may be on its successor's books
		k.requeueLocked(jobs)
		return true
	case wire.IsRefusal(err) && len(jobs) > 1 && !everybodys(err):
		for _, j := range jobs {
			j.e.alone = true
		}
		k.requeueLocked(jobs)
		return true
	case wire.IsRefusal(err):
		var resting []*entry
		for _, j := range jobs {
			if k.refusedLocked(j, err) {
				resting = append(resting, j.e)
			}
		}
		k.tryLaterLocked(resting, err)
		return true
	}
	for _, j := range jobs {
		if j.step != read {
			j.e.known = false // it may have been done
		}
		if j.step == put || j.step == goodbye {
			j.e.late = true
		}
	}
	if k.ctx.Err() == nil {
		k.missedLocked(err)
	}
	k.requeueLocked(jobs)
	return false
}

func (k *Keeper) requeueLocked(jobs []job) {
	for _, j := range jobs {
		k.finishLocked(j.e, nil)
	}
}

// everybodys reports whether etcd would have refused any write: a batch is not to be tried key by key then.
func everybodys(err error) bool {
	known := wire.EtcdError(err)
	return wire.TokenDied(err) || errors.Is(known, rpctypes.ErrAuthFailed) || errors.Is(known, rpctypes.ErrNoSpace)
}

// refusedLocked handles a definite no to one job, and reports whether it is to be tried again after a rest.
func (k *Keeper) refusedLocked(j job, err error) bool {
	e := j.e
	if errors.Is(wire.EtcdError(err), rpctypes.ErrNoSpace) && (j.step == put || j.step == goodbye) {
		e.known, e.late = false, true // etcd may say so and write all the same
	}
	if j.step == goodbye {
		e.farewellDone = e.hold == nil // leave without a goodbye
		k.finishLocked(e, nil)
		return false
	}
	k.refusedByLocked(fmt.Errorf("write %s: %w", e.key, err))
	e.refusal = err
	e.refused++
	e.busy, e.stash = false, nil // what the stash told, the next try finds
	e.signal()
	switch {
	case k.entries[e.key] != e:
		return false
	case e.hold == nil && e.known && e.rev == 0 && e.refs == 1:
		k.forgetLocked(e) // nothing was ever written
		return false
	}
	k.setApartLocked(e, err)
	return true
}

// tryLaterLocked tries entries again after a while: all of them together, so that they are one transaction again.
func (k *Keeper) tryLaterLocked(entries []*entry, err error) {
	if len(entries) == 0 || without.Retry {
		return
	}
	time.AfterFunc(restAfter(entries[0].refused-1, err), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, e := range entries {
			if !k.stopped && k.entries[e.key] == e {
				k.dirtyLocked(e)
			}
		}
	})
}
