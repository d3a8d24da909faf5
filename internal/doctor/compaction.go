package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var compactionOff = newKind("compaction-off", "Etcd forgets nothing of its past",
	"Every change that was ever made stays, until the database is full. Run etcd with --auto-compaction-mode=periodic --auto-compaction-retention=1h (`rollcall server` does so by itself, see its --history); once, by hand: `etcdctl compact REVISION`, then defragment.")

// past is how far back etcd remembers.
type past struct {
	oldest, newest int64     // revisions that can be read
	at             time.Time // of the oldest, or a little before it; zero: nobody knows
}

var compactionCheck = check{"compaction", "how far back etcd remembers", func(ctx context.Context, p *patient) ([]Finding, error) {
	seen, err := p.past(ctx)
	if err != nil {
		return nil, err
	}
	return judgePast(seen, p.Now(), p.Thresholds), nil
}}

// judgePast judges by time where it is known, else by how much there is: etcd does not tell whether it compacts.
func judgePast(seen past, now time.Time, limit Thresholds) []Finding {
	kept := seen.newest - seen.oldest
	evidence := []string{fmt.Sprintf("revisions %d to %d can be read: %d changes", seen.oldest, seen.newest, kept)}
	if seen.oldest <= 1 {
		evidence = append(evidence, "it was never compacted")
	}
	if seen.at.IsZero() {
		enough := limit.Revisions
		if seen.oldest <= 1 {
			enough /= 10 // nothing speaks for compaction here
		}
		if kept < enough {
			return nil
		}
		return []Finding{compactionOff.found(Warning, "", evidence...)}
	}
	if age := now.Sub(seen.at); age >= limit.History {
		return []Finding{compactionOff.found(Warning, "", append(evidence, "the oldest is "+span(age)+" old")...)}
	}
	return nil
}

// past finds the oldest revision that can be read, by halves: etcd has no question for it that costs as little.
func (p *patient) past(ctx context.Context) (past, error) {
	return p.pastSeen.get(func() (past, error) {
		kv, err := p.kv(ctx)
		if err != nil {
			return past{}, err
		}
		head, err := kv.Get(ctx, p.services, clientv3.WithCountOnly())
		if err != nil {
			return past{}, err
		}
		low, high := int64(1), head.Header.Revision
		for first := true; low < high; first = false {
			middle := (low + high) / 2
			if first {
				middle = low // most often nothing was ever compacted, or it is not known
			}
			_, err := kv.Get(ctx, p.services, clientv3.WithCountOnly(), clientv3.WithSerializable(), clientv3.WithRev(middle))
			switch {
			case err == nil:
				high = middle
			case errors.Is(err, rpctypes.ErrCompacted):
				low = middle + 1
			default:
				return past{}, err
			}
		}
		return past{low, head.Header.Revision, p.beatAt(ctx, kv, low)}, nil
	})
}

// beatAt returns the time of a revision by the last sign of a server's that was there then: the zero time if there was none.
func (p *patient) beatAt(ctx context.Context, kv clientv3.KV, revision int64) (newest time.Time) {
	got, err := kv.Get(ctx, p.services+serverService+"/", clientv3.WithPrefix(), clientv3.WithSerializable(), clientv3.WithRev(revision), clientv3.WithLimit(100))
	if err != nil {
		return newest
	}
	for _, pair := range got.Kvs {
		if seen, err := decode(pair.Value); err == nil && seen.beat.After(newest) {
			newest = seen.beat
		}
	}
	return newest
}
