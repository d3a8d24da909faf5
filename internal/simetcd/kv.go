package simetcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// kvServer answers reads and writes.
type kvServer struct {
	pb.UnimplementedKVServer
	m *Member
}

func (s *kvServer) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	c := s.m.cluster
	if err := checkRange(r); err != nil {
		return nil, err
	}
	if err := s.m.read(ctx, r.Serializable); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	who, err := s.m.identify(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.store.auth.mayRead(who, r.Key, r.RangeEnd); err != nil {
		return nil, err
	}
	applied, compacted := s.m.applied()
	if err := c.store.checkRevision(r.Revision, applied, compacted); err != nil {
		return nil, err
	}
	resp := c.store.answerRange(r, applied)
	resp.Header = c.header(s.m, applied)
	return resp, nil
}

func (s *kvServer) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	c := s.m.cluster
	if err := checkPut(r); err != nil {
		return nil, err
	}
	if len(r.Key)+len(r.Value) > maxRequestBytes {
		return nil, rpctypes.ErrGRPCRequestTooLarge
	}
	var resp *pb.PutResponse
	err := s.m.propose(ctx, func() error {
		who, err := s.m.identify(ctx)
		if err != nil {
			return err
		}
		if err := c.store.mayPut(who, r); err != nil {
			return err
		}
		if c.store.noSpace {
			return rpctypes.ErrGRPCNoSpace
		}
		if err := c.store.checkPut(r); err != nil {
			return err
		}
		w := c.store.begin()
		resp = w.executePut(r)
		c.commit(w, "client")
		resp.Header = c.header(s.m, c.store.revision)
		return nil
	})
	return resp, err
}

func (s *kvServer) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	c := s.m.cluster
	if err := checkKey(r.Key); err != nil {
		return nil, err
	}
	var resp *pb.DeleteRangeResponse
	err := s.m.propose(ctx, func() error {
		who, err := s.m.identify(ctx)
		if err != nil {
			return err
		}
		if err := c.store.mayDelete(who, r); err != nil {
			return err
		}
		w := c.store.begin()
		resp = w.executeDelete(r)
		c.commit(w, "client")
		resp.Header = c.header(s.m, c.store.revision)
		return nil
	})
	return resp, err
}

func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	c := s.m.cluster
	if err := checkTxn(r); err != nil {
		return nil, err
	}
	var resp *pb.TxnResponse
	run := func() error {
		who, err := s.m.identify(ctx)
		if err != nil {
			return err
		}
		if err := c.store.mayTxn(who, r); err != nil {
			return err
		}
		if c.store.noSpace && writes(r, func(op *pb.RequestOp) bool { return op.GetRequestPut() != nil }) {
			return rpctypes.ErrGRPCNoSpace
		}
		t := c.store.decide(r)
		if err := c.store.check(t); err != nil {
			return err
		}
		w := c.store.begin()
		resp = w.execute(t)
		c.commit(w, "client")
		resp.Header = c.header(s.m, c.store.revision)
		return nil
	}
	if writes(r, func(op *pb.RequestOp) bool { return op.GetRequestRange() == nil && op.GetRequestTxn() == nil }) {
		err := s.m.propose(ctx, run)
		return resp, err
	}
	if err := s.m.read(ctx, false); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	err := run()
	return resp, err
}

func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	c := s.m.cluster
	var resp *pb.CompactionResponse
	err := s.m.propose(ctx, func() error {
		if err := s.m.admin(ctx); err != nil {
			return err
		}
		switch {
		case r.Revision <= c.store.compacted:
			return rpctypes.ErrGRPCCompacted
		case r.Revision > c.store.revision:
			return rpctypes.ErrGRPCFutureRev
		}
		c.store.compacted = r.Revision
		resp = &pb.CompactionResponse{Header: c.header(s.m, c.store.revision)}
		return nil
	})
	return resp, err
}
