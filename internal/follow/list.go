package follow

import (
	"context"
	"errors"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall/internal/wire"
)

const (
	// pageSize is large because etcd counts the whole range anew for every page.
	pageSize    = 10_000
	readTimeout = 3 * time.Second // of one page, or of one chunk of a stream
)

// Begin is called once before the first Visit, with where the list is from and how many keys will come.
type Begin func(at Header, keys int64)

// Visit is called for each key of a list, with where the list is from.
type Visit func(at Header, kv *mvccpb.KeyValue)

// lister reads everything under a prefix at one revision.
type lister struct {
	conn     *wire.Conn
	begin    Begin // may be nil
	visit    Visit
	key, end string // what is left to be read
	at       Header // of the first page; the others are read at its revision
	keysOnly bool
}

// list reads everything under a prefix, at a revision or as it is now when that is 0, and calls visit for each key in
// order. The read is linearizable: it contains every write that was acknowledged to anybody before. When it fails, visit
// may have been called; the caller starts over.
//
// What does not fit into one page comes as a stream, which etcd has since 3.7, or else page by page.
func (l *lister) list(ctx context.Context) (Header, error) {
	more, err := l.page(ctx)
	if more && l.conn.Streamed() {
		err = l.stream(ctx)
		if more = isUnimplemented(err); more {
			err = nil
		}
	}
	for more && err == nil {
		more, err = l.page(ctx)
	}
	return l.at, err
}

func isUnimplemented(err error) bool { return status.Code(wire.EtcdError(err)) == codes.Unimplemented }

func (l *lister) page(ctx context.Context) (more bool, err error) {
	ctx, cancel := l.conn.Call(ctx, readTimeout)
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithRange(l.end), clientv3.WithLimit(pageSize), clientv3.WithRev(l.at.Revision)}
	if l.keysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	page, err := l.conn.KV().Get(ctx, l.key, opts...)
	if err != nil {
		return false, err
	}
	if h := wire.HeaderOf(page.Header); l.at.Revision == 0 {
		l.at = h
	} else {
		l.at.Cluster, l.at.Term = h.Cluster, h.Term
	}
	if l.begin != nil {
		l.begin(l.at, page.Count)
		l.begin = nil
	}
	l.take(page.Kvs)
	return page.More && len(page.Kvs) > 0, nil
}

// stream reads what is left in one go. When etcd does not know how, nothing is read.
func (l *lister) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(readTimeout, cancel)
	defer watchdog.Stop()
	chunks, err := l.conn.RangeStream(ctx, &pb.RangeRequest{
		Key: []byte(l.key), RangeEnd: []byte(l.end), Revision: l.at.Revision, KeysOnly: l.keysOnly,
	})
	for err == nil {
		var chunk *pb.RangeStreamResponse
		if chunk, err = chunks.Recv(); err == nil {
			watchdog.Reset(readTimeout)
			l.take(chunk.GetRangeResponse().GetKvs())
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (l *lister) take(kvs []*mvccpb.KeyValue) {
	for _, kv := range kvs {
		l.visit(l.at, kv)
	}
	if n := len(kvs); n > 0 {
		l.key = string(kvs[n-1].Key) + "\x00"
	}
}
