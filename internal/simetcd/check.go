package simetcd

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	maxOps          = 128 // in a transaction, those of nested ones included
	maxRequestBytes = 3 << 19
	maxFragment     = 2 << 20 // bytes of a watch response that may be sent in parts
)

// The checks below need no store: etcd refuses such requests before it looks at anything else.

func checkPut(r *pb.PutRequest) error {
	switch {
	case len(r.Key) == 0:
		return rpctypes.ErrGRPCEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return rpctypes.ErrGRPCValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return rpctypes.ErrGRPCLeaseProvided
	}
	return nil
}

func checkKey(key []byte) error {
	if len(key) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return nil
}

func checkSort(r *pb.RangeRequest) error {
	_, order := pb.RangeRequest_SortOrder_name[int32(r.SortOrder)]
	_, target := pb.RangeRequest_SortTarget_name[int32(r.SortTarget)]
	if !order || !target {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	return nil
}

func checkRange(r *pb.RangeRequest) error {
	if err := checkKey(r.Key); err != nil {
		return err
	}
	return checkSort(r)
}

// checkTxn checks a transaction and all in it.
func checkTxn(r *pb.TxnRequest) error {
	if err := checkOps(r, maxOps); err != nil {
		return err
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		if _, _, err := checkOverlap(branch); err != nil {
			return err
		}
	}
	return nil
}

// checkOps checks the operations of a transaction, each for itself. Nested ones may have what their parents left over.
func checkOps(r *pb.TxnRequest, allowed int) error {
	ops := max(len(r.Compare), len(r.Success), len(r.Failure))
	if ops > allowed {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.Compare {
		if err := checkKey(c.Key); err != nil {
			return err
		}
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if err := checkOp(op, allowed-ops); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp, allowed int) error {
	switch {
	case op.GetRequestRange() != nil:
		return checkRange(op.GetRequestRange())
	case op.GetRequestPut() != nil:
		return checkPut(op.GetRequestPut())
	case op.GetRequestDeleteRange() != nil:
		return checkKey(op.GetRequestDeleteRange().Key)
	case op.GetRequestTxn() != nil:
		return checkOps(op.GetRequestTxn(), allowed)
	}
	return rpctypes.ErrGRPCKeyNotFound // an empty operation
}

// span is a range of keys that a transaction deletes.
type span struct{ key, end string }

// checkOverlap refuses a branch that writes a key twice, or deletes what it puts: etcd has one version of a key at one
// revision. Both branches of a nested transaction may put the same key, since only one of them runs.
func checkOverlap(ops []*pb.RequestOp) (puts map[string]bool, deletes []span, err error) {
	puts = map[string]bool{}
	for _, op := range ops {
		if d := op.GetRequestDeleteRange(); d != nil {
			deletes = append(deletes, span{string(d.Key), string(d.RangeEnd)})
		}
	}
	add := func(key string, except map[string]bool) error {
		for _, d := range deletes {
			// etcd forgets here that an end of one zero byte has a meaning: such a delete overlaps with nothing.
			if d.end != "\x00" && within(key, d.key, d.end) {
				return rpctypes.ErrGRPCDuplicateKey
			}
		}
		if puts[key] && !except[key] {
			return rpctypes.ErrGRPCDuplicateKey
		}
		puts[key] = true
		return nil
	}
	for _, op := range ops {
		nested := op.GetRequestTxn()
		if nested == nil {
			continue
		}
		then, thenDeletes, err := checkOverlap(nested.Success)
		if err != nil {
			return nil, nil, err
		}
		otherwise, otherwiseDeletes, err := checkOverlap(nested.Failure)
		if err != nil {
			return nil, nil, err
		}
		for key := range then {
			if err := add(key, nil); err != nil {
				return nil, nil, err
			}
		}
		for key := range otherwise {
			if err := add(key, then); err != nil {
				return nil, nil, err
			}
		}
		deletes = append(append(deletes, thenDeletes...), otherwiseDeletes...)
	}
	for _, op := range ops {
		if p := op.GetRequestPut(); p != nil {
			if err := add(string(p.Key), nil); err != nil {
				return nil, nil, err
			}
		}
	}
	return puts, deletes, nil
}

// writes reports whether a transaction could put anything, whichever branch it takes: without space it may not.
func writes(r *pb.TxnRequest, is func(*pb.RequestOp) bool) bool {
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if is(op) || op.GetRequestTxn() != nil && writes(op.GetRequestTxn(), is) {
				return true
			}
		}
	}
	return false
}
