package simetcd

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// txn is a transaction whose branches are decided: like etcd, the fake compares for all nested transactions before it
// executes anything.
type txn struct {
	succeeded bool
	ops       []*pb.RequestOp
	nested    map[*pb.RequestOp]*txn
}

func (s *store) decide(r *pb.TxnRequest) *txn {
	t := &txn{succeeded: true, ops: r.Success, nested: map[*pb.RequestOp]*txn{}}
	if slices.ContainsFunc(r.Compare, func(c *pb.Compare) bool { return !s.holds(c) }) {
		t.succeeded, t.ops = false, r.Failure
	}
	for _, op := range t.ops {
		if inner := op.GetRequestTxn(); inner != nil {
			t.nested[op] = s.decide(inner)
		}
	}
	return t
}

// holds reports whether a comparison is true of every key in its range. A key that does not exist has revisions, version
// and lease 0, and no value that could be compared.
func (s *store) holds(c *pb.Compare) bool {
	kvs := s.list(c.Key, c.RangeEnd, s.revision)
	if len(kvs) == 0 {
		return c.Target != pb.Compare_VALUE && compare(c, &mvccpb.KeyValue{})
	}
	return !slices.ContainsFunc(kvs, func(kv *mvccpb.KeyValue) bool { return !compare(c, kv) })
}

func compare(c *pb.Compare, kv *mvccpb.KeyValue) bool {
	var result int
	switch c.Target {
	case pb.Compare_VALUE:
		result = bytes.Compare(kv.Value, c.GetValue())
	case pb.Compare_CREATE:
		result = cmp.Compare(kv.CreateRevision, c.GetCreateRevision())
	case pb.Compare_MOD:
		result = cmp.Compare(kv.ModRevision, c.GetModRevision())
	case pb.Compare_VERSION:
		result = cmp.Compare(kv.Version, c.GetVersion())
	case pb.Compare_LEASE:
		result = cmp.Compare(kv.Lease, c.GetLease())
	}
	switch c.Result {
	case pb.Compare_EQUAL:
		return result == 0
	case pb.Compare_NOT_EQUAL:
		return result != 0
	case pb.Compare_GREATER:
		return result > 0
	case pb.Compare_LESS:
		return result < 0
	}
	return true
}

// check reports whether the transaction can be executed: all of it or nothing.
func (s *store) check(t *txn) error {
	for _, op := range t.ops {
		var err error
		switch {
		case op.GetRequestRange() != nil:
			err = s.checkRevision(op.GetRequestRange().Revision, s.revision, s.compacted)
		case op.GetRequestPut() != nil:
			err = s.checkPut(op.GetRequestPut())
		case op.GetRequestTxn() != nil:
			err = s.check(t.nested[op])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *store) checkRevision(wanted, current, compacted int64) error {
	switch {
	case wanted > current:
		return rpctypes.ErrGRPCFutureRev
	case wanted > 0 && wanted < compacted:
		return rpctypes.ErrGRPCCompacted
	}
	return nil
}

func (s *store) checkPut(r *pb.PutRequest) error {
	if r.Lease != 0 && s.leases[r.Lease] == nil {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	if (r.IgnoreValue || r.IgnoreLease) && s.get(string(r.Key), s.revision) == nil {
		return rpctypes.ErrGRPCKeyNotFound
	}
	return nil
}

// execute runs a checked transaction in a write.
func (w *write) execute(t *txn) *pb.TxnResponse {
	resp := &pb.TxnResponse{Header: &pb.ResponseHeader{}, Succeeded: t.succeeded} // etcd leaves a nested header empty
	for _, op := range t.ops {
		resp.Responses = append(resp.Responses, w.executeOp(t, op))
	}
	return resp
}

func (w *write) executeOp(t *txn, op *pb.RequestOp) *pb.ResponseOp {
	switch {
	case op.GetRequestRange() != nil:
		resp := w.store.answerRange(op.GetRequestRange(), w.revision)
		resp.Header = &pb.ResponseHeader{Revision: w.current()}
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: resp}}
	case op.GetRequestPut() != nil:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: w.executePut(op.GetRequestPut())}}
	case op.GetRequestDeleteRange() != nil:
		resp := w.executeDelete(op.GetRequestDeleteRange())
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: resp}}
	case op.GetRequestTxn() != nil:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: w.execute(t.nested[op])}}
	}
	return &pb.ResponseOp{}
}

func (w *write) executePut(r *pb.PutRequest) *pb.PutResponse {
	previous := w.store.get(string(r.Key), w.revision)
	value, leaseID := r.Value, r.Lease
	// It exists, unless the transaction deleted it by a range without end before: that ends an etcd by a panic.
	if r.IgnoreValue {
		value = previous.GetValue()
	}
	if r.IgnoreLease {
		leaseID = previous.GetLease()
	}
	resp := &pb.PutResponse{}
	if r.PrevKv {
		resp.PrevKv = previous
	}
	w.put(string(r.Key), value, leaseID)
	resp.Header = &pb.ResponseHeader{Revision: w.current()}
	return resp
}

func (w *write) executeDelete(r *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	deleted := w.delete(r.Key, r.RangeEnd)
	resp := &pb.DeleteRangeResponse{Header: &pb.ResponseHeader{Revision: w.current()}, Deleted: int64(len(deleted))}
	if r.PrevKv {
		resp.PrevKvs = deleted
	}
	return resp
}
