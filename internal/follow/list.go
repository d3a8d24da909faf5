package follow

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// pageSize is large because etcd counts the whole range anew for every page.
	pageSize    = 10_000
	readTimeout = 3 * time.Second // of one page
)

// List reads everything under a prefix as it is now, at one revision, and calls visit for each key in order. The read
// is linearizable: it contains every write that was acknowledged to anybody before. When it fails, visit may have been
// called; the caller starts over with List.
func List(ctx context.Context, kv clientv3.KV, prefix string, visit func(*mvccpb.KeyValue), opts ...clientv3.OpOption) (revision int64, err error) {
	key, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		page, err := getPage(ctx, kv, key, end, revision, opts)
		if err != nil {
			return 0, err
		}
		if revision == 0 {
			revision = page.Header.Revision
		}
		for _, item := range page.Kvs {
			visit(item)
		}
		if !page.More || len(page.Kvs) == 0 {
			return revision, nil
		}
		key = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func getPage(ctx context.Context, kv clientv3.KV, key, end string, revision int64, opts []clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	opts = append([]clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(revision)}, opts...)
	return kv.Get(ctx, key, opts...)
}
