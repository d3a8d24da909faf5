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

// verify compares what is known with what etcd had at the same revision, by a hash: events that were never sent, as etcd
// has lost some in the past (etcd issues 17529, 18089), show nowhere else. It returns errDiverged if they differ; what
// could not be compared is compared next time.
func (f *Follower) verify(ctx context.Context) error {
	f.mu.Lock()
	at, known := f.revision, f.sum
	f.mu.Unlock()
	found, err := f.sumAt(ctx, at)
	if isCompacted(err) {
		// Nothing was told for so long. If nothing was written either, what is there now is what was there then; else
		// it may be that it was written just now.
		if found, err = f.sumAt(ctx, 0); err == nil && found != known {
			return errAsked
		}
	}
	if err != nil || found == known {
		return nil
	}
	f.logger.Warn("what was watched is not what is in etcd, reading everything again", "revision", at)
	return errDiverged
}

func (f *Follower) sumAt(ctx context.Context, revision int64) (found sum, err error) {
	_, err = f.source.list(ctx, &lister{
		key: f.prefix, keysOnly: true, at: Header{Revision: revision},
		visit: func(_ Header, kv *mvccpb.KeyValue) { found.toggle(string(kv.Key), kv.ModRevision) },
	})
	return found, err
}

// untilVerify returns how long to wait before the next comparison.
func untilVerify() time.Duration { return verifyPeriod*4/5 + rand.N(verifyPeriod*2/5) }
