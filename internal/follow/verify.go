package follow

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// verifyPeriod is how long a watch goes on before what it has told is compared with etcd, ± 20 %.
const verifyPeriod = 5 * time.Minute

// sum is a hash of keys and the revisions of their last writes. Their order does not count, so that it can be kept up to
// date: to add a pair and to take it away is the same.
type sum uint64

var seed = maphash.MakeSeed()

func (s *sum) toggle(key string, revision int64) {
	type pair struct {
		key      string
		revision int64
	}
	*s ^= sum(maphash.Comparable(seed, pair{key, revision}))
}

// errDiverged ends a watch that has told something else than what happened: nothing but a list heals that.
var errDiverged = errors.New("what was watched is not what is in etcd")

// verify compares what is known with what etcd has, by a hash: events that were never sent, as etcd has lost some in the past
// (etcd issues 17529, 18089), show nowhere else. It returns errDiverged if they differ; what could not be compared is
// compared next time.
func (f *Follower) verify(ctx context.Context) error {
	at, found, err := f.sumAt(ctx, 0)
	if err != nil || !f.source.watches.Reach(ctx, at.Revision, lagTimeout) {
		return nil
	}
	f.mu.Lock()
	revision, known := f.revision, f.sum
	f.mu.Unlock()
	if revision > at.Revision { // more has been told meanwhile: compare with what was there then
		_, found, err = f.sumAt(ctx, revision)
	}
	if err != nil || found == known {
		return nil
	}
	f.logger.Warn("what was watched is not what is in etcd, reading everything again", "revision", max(revision, at.Revision))
	f.mu.Lock()
	f.diverged = true
	f.mu.Unlock()
	return errDiverged
}

func (f *Follower) sumAt(ctx context.Context, revision int64) (at Header, found sum, err error) {
	at, err = f.source.list(ctx, &lister{
		key: f.prefix, keysOnly: true, at: Header{Revision: revision},
		visit: func(_ Header, kv *mvccpb.KeyValue) { found.toggle(string(kv.Key), kv.ModRevision) },
	})
	return at, found, err
}

// untilVerify returns how long to wait before the next comparison.
func untilVerify() time.Duration { return verifyPeriod*4/5 + rand.N(verifyPeriod*2/5) }
