package follow

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
)

const (
	// pageSize is large because etcd counts the whole range anew for every page.
	pageSize    = 10_000
	readTimeout = 3 * time.Second // of one page
)

// Visit is called for each key of a list, with where the list is from.
type Visit func(at Header, kv *mvccpb.KeyValue)

// list reads everything under a prefix as it is now, at one revision, and calls visit for each key in order. The read
// is linearizable: it contains every write that was acknowledged to anybody before. When it fails, visit may have been
// called; the caller starts over.
func list(ctx context.Context, conn *wire.Conn, prefix string, visit Visit, opts ...clientv3.OpOption) (Header, error) {
	key, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	var at Header
	for {
		page, err := getPage(ctx, conn, key, end, at.Revision, opts)
		if err != nil {
			return Header{}, err
		}
		if at.Revision == 0 {
			at = headerOf(page.Header)
		}
		for _, item := range page.Kvs {
			visit(at, item)
		}
		if !page.More || len(page.Kvs) == 0 {
			return at, nil
		}
		key = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func getPage(ctx context.Context, conn *wire.Conn, key, end string, revision int64, opts []clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := conn.Call(ctx, readTimeout)
	defer cancel()
	opts = append([]clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(revision)}, opts...)
	return conn.KV().Get(ctx, key, opts...)
}
