package simetcd

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// answerRange answers a read as of a revision, or as of the older one that the request names.
func (s *store) answerRange(r *pb.RangeRequest, at int64) *pb.RangeResponse {
	if r.Revision > 0 {
		at = r.Revision
	}
	kvs := s.list(r.Key, r.RangeEnd, at)
	resp := &pb.RangeResponse{Count: int64(len(kvs))}
	if r.CountOnly {
		return resp
	}
	kvs = slices.DeleteFunc(kvs, func(kv *mvccpb.KeyValue) bool { return excluded(r, kv) })
	order(r, kvs)
	if r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs, resp.More = kvs[:r.Limit], true
	}
	if r.KeysOnly {
		for i, kv := range kvs {
			kvs[i] = &mvccpb.KeyValue{Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version}
			if r.SortTarget == pb.RangeRequest_VALUE {
				kvs[i].Lease = kv.Lease // otherwise etcd 3.7 answers from its index, which knows no leases
			}
		}
	}
	resp.Kvs = kvs
	return resp
}

// excluded reports whether the request's limits on revisions keep a key out of its answer.
func excluded(r *pb.RangeRequest, kv *mvccpb.KeyValue) bool {
	return r.MinModRevision != 0 && kv.ModRevision < r.MinModRevision ||
		r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision ||
		r.MinCreateRevision != 0 && kv.CreateRevision < r.MinCreateRevision ||
		r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision
}

// order sorts what comes in the order of keys.
func order(r *pb.RangeRequest, kvs []*mvccpb.KeyValue) {
	slices.SortStableFunc(kvs, func(a, b *mvccpb.KeyValue) int {
		if r.SortOrder == pb.RangeRequest_DESCEND {
			a, b = b, a
		}
		switch r.SortTarget {
		case pb.RangeRequest_VERSION:
			return cmp.Compare(a.Version, b.Version)
		case pb.RangeRequest_CREATE:
			return cmp.Compare(a.CreateRevision, b.CreateRevision)
		case pb.RangeRequest_MOD:
			return cmp.Compare(a.ModRevision, b.ModRevision)
		case pb.RangeRequest_VALUE:
			return bytes.Compare(a.Value, b.Value)
		}
		return bytes.Compare(a.Key, b.Key)
	})
}
