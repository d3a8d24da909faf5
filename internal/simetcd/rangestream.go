package simetcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstChunk = 10              // keys in the first chunk of a streamed read
	chunkBytes = maxRequestBytes // about as large as etcd makes the others
)

// checkRangeStream refuses what can only be answered when everything has been read.
func checkRangeStream(r *pb.RangeRequest) error {
	if err := checkRange(r); err != nil {
		return err
	}
	if r.SortOrder != pb.RangeRequest_NONE && (r.SortTarget != pb.RangeRequest_KEY || r.SortOrder != pb.RangeRequest_ASCEND) {
		return status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	}
	if r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0 {
		return status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
	}
	return nil
}

// RangeStream answers a read in chunks, all as of the revision at which it began.
func (s *kvServer) RangeStream(r *pb.RangeRequest, stream pb.KV_RangeStreamServer) error {
	if err := checkRangeStream(r); err != nil {
		return err
	}
	p, err := s.beginStream(stream.Context(), r)
	if err != nil {
		return err
	}
	for limit, done := firstChunk, false; !done; {
		var chunk *pb.RangeResponse
		if chunk, done, err = p.next(limit); err != nil {
			return err
		}
		if err := stream.Send(&pb.RangeStreamResponse{RangeResponse: chunk}); err != nil {
			return err
		}
		limit = chunkLimit(limit, chunk.Kvs)
	}
	return p.end()
}

// chunkLimit returns how many keys come next, after so many of these.
func chunkLimit(last int, kvs []*mvccpb.KeyValue) int {
	const overhead = 20 // of a key beside its name and value, about
	size := 0
	for _, kv := range kvs {
		size += len(kv.Key) + len(kv.Value) + overhead
	}
	switch {
	case size < chunkBytes/2:
		last *= 2
	case size > chunkBytes*2:
		last /= 2
	}
	return max(last, 1)
}

// parts is a read that is answered in chunks.
type parts struct {
	m        *Member
	ctx      context.Context
	pinned   int64             // the revision that is read
	who      string            // who reads; "" for nobody
	auth     uint64            // the auth revision at the beginning
	response *pb.RangeResponse // the whole answer, less what was sent
}

func (s *kvServer) beginStream(ctx context.Context, r *pb.RangeRequest) (*parts, error) {
	// Read as one, it is what the chunks are together: the past does not change while they are sent.
	resp, err := s.Range(ctx, r)
	if err != nil {
		return nil, err
	}
	c := s.m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	who, err := s.m.identify(ctx)
	if err != nil {
		return nil, err
	}
	p := &parts{m: s.m, ctx: ctx, pinned: r.Revision, who: who, auth: c.store.auth.revision, response: resp}
	if p.pinned <= 0 {
		p.pinned = resp.Header.Revision
	}
	return p, nil
}

// next returns at most n keys. The last chunk alone has a header, the count of all keys and whether there were more.
func (p *parts) next(n int) (chunk *pb.RangeResponse, last bool, err error) {
	if err := p.m.read(p.ctx, true); err != nil {
		return nil, false, err
	}
	_, compacted := p.m.applied()
	p.m.cluster.mu.Unlock()
	if p.pinned < compacted {
		return nil, false, rpctypes.ErrGRPCCompacted
	}
	if n >= len(p.response.Kvs) {
		return p.response, true, nil
	}
	chunk = &pb.RangeResponse{Kvs: p.response.Kvs[:n:n]}
	p.response.Kvs = p.response.Kvs[n:]
	return chunk, false, nil
}

// end refuses, when all is sent, what began when others were allowed to read.
func (p *parts) end() error {
	c := p.m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.who != "" && p.auth != c.store.auth.revision {
		return rpctypes.ErrGRPCAuthOldRevision
	}
	return nil
}
