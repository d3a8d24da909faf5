package integration

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Scenarios hold what somebody thought of. Random requests, the same to both, hold the rest.
func TestTheFakeAnswersRandomRequestsAsEtcdDoes(t *testing.T) {
	t.Parallel()
	const requests = 1500
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var fake, real []string
	simulate(t, 1, func(t *testing.T, w *simulated) { fake = randomRequests(t, w, seed, requests) })
	real = randomRequests(t, startReal(t), seed, requests)
	for i := range requests {
		if fake[i] != real[i] {
			t.Fatalf("seed %d, request %d:\nfake %s\netcd %s", seed, i, fake[i], real[i])
		}
	}
}

// randomRequests makes requests that depend on the seed only, and writes down each with its answer.
func randomRequests(t *testing.T, w world, seed uint64, n int) []string {
	t.Helper()
	conn := w.Client(t, 0).ActiveConnection()
	kv, leases := pb.NewKVClient(conn), pb.NewLeaseClient(conn)
	ctx := within(t, time.Minute)
	g := &generator{rand.New(rand.NewPCG(seed, 0)), 1}
	var journal []string
	for range n {
		line := ""
		switch p := g.IntN(20); {
		case p < 4:
			r := g.put()
			resp, err := kv.Put(ctx, r)
			line = fmt.Sprint("put ", r, " → ", outcome(err, resp.GetHeader()), pairs(resp.GetPrevKv()))
		case p < 6:
			r := g.delete()
			resp, err := kv.DeleteRange(ctx, r)
			line = fmt.Sprint("delete ", r, " → ", outcome(err, resp.GetHeader()), resp.GetDeleted(), pairs(resp.GetPrevKvs()...))
		case p < 10:
			r := g.read()
			resp, err := kv.Range(ctx, r)
			line = fmt.Sprint("range ", r, " → ", outcome(err, resp.GetHeader()), resp.GetCount(), resp.GetMore(), pairs(resp.GetKvs()...))
		case p < 11:
			r := g.read()
			resp, err := collect(kv.RangeStream(ctx, r))
			line = fmt.Sprint("stream ", r, " → ", outcome(err, resp.GetHeader()), resp.GetCount(), resp.GetMore(), pairs(resp.GetKvs()...))
		case p < 17:
			r := g.txn(2)
			resp, err := kv.Txn(ctx, r)
			line = fmt.Sprint("txn ", r, " → ", outcome(err, resp.GetHeader()), resp.GetSucceeded(), responses(resp))
		case p < 18:
			r := &pb.LeaseGrantRequest{ID: g.lease(), TTL: 1000}
			resp, err := leases.LeaseGrant(ctx, r)
			line = fmt.Sprint("grant ", r, " → ", outcome(err, resp.GetHeader()), resp.GetTTL())
		case p < 19:
			r := &pb.LeaseRevokeRequest{ID: g.lease()}
			resp, err := leases.LeaseRevoke(ctx, r)
			line = fmt.Sprint("revoke ", r, " → ", outcome(err, resp.GetHeader()))
		default:
			r := &pb.CompactionRequest{Revision: g.revision()/2 + 1}
			resp, err := kv.Compact(ctx, r)
			line = fmt.Sprint("compact ", r, " → ", outcome(err, resp.GetHeader()))
		}
		g.revisions++
		// The text of messages has random spaces, lest anybody should compare it.
		journal = append(journal, strings.ReplaceAll(line, "  ", " "))
	}
	return journal
}

// collect puts the chunks of a streamed read together.
func collect(stream pb.KV_RangeStreamClient, err error) (*pb.RangeResponse, error) {
	whole := &pb.RangeResponse{}
	for err == nil {
		var chunk *pb.RangeStreamResponse
		if chunk, err = stream.Recv(); err == nil {
			proto.Merge(whole, chunk.RangeResponse)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return whole, err
}

func outcome(err error, header *pb.ResponseHeader) string {
	if err != nil {
		return status.Code(err).String() + " " + status.Convert(err).Message()
	}
	return fmt.Sprintf("rev %d ", header.GetRevision())
}

func pairs(kvs ...*mvccpb.KeyValue) string {
	var b strings.Builder
	for _, kv := range kvs {
		if kv != nil {
			fmt.Fprintf(&b, " %s=%q@%d/%d/%d/%d", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
		}
	}
	return b.String()
}

func responses(resp *pb.TxnResponse) string {
	var b strings.Builder
	for _, op := range resp.GetResponses() {
		switch {
		case op.GetResponseRange() != nil:
			r := op.GetResponseRange()
			fmt.Fprint(&b, " range ", r.Count, r.More, r.Header.GetRevision(), pairs(r.Kvs...))
		case op.GetResponsePut() != nil:
			fmt.Fprint(&b, " put ", op.GetResponsePut().Header.GetRevision(), pairs(op.GetResponsePut().PrevKv))
		case op.GetResponseDeleteRange() != nil:
			r := op.GetResponseDeleteRange()
			fmt.Fprint(&b, " delete ", r.Deleted, r.Header.GetRevision(), pairs(r.PrevKvs...))
		case op.GetResponseTxn() != nil:
			r := op.GetResponseTxn()
			fmt.Fprint(&b, " txn ", r.Succeeded, r.Header.GetRevision(), " (", responses(r), " )")
		}
	}
	return b.String()
}

// generator makes requests on few keys, so that they meet.
type generator struct {
	*rand.Rand
	revisions int64 // about as many as there are
}

func (g *generator) key() []byte {
	return []byte{"abcdefgh"[g.IntN(8)]}
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }
func (g *generator) lease() int64            { return int64(g.IntN(6) + 1) }
func (g *generator) revision() int64         { return g.Int64N(g.revisions + 5) }

func (g *generator) end() []byte {
	return [][]byte{nil, nil, g.key(), {0}, []byte(clientv3.GetPrefixRangeEnd("d"))}[g.IntN(5)]
}

func (g *generator) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: g.key(), PrevKv: g.chance(30)}
	if !g.chance(10) {
		r.Value = []byte{"xyz"[g.IntN(3)]}
	} else {
		r.IgnoreValue = g.chance(80)
	}
	if g.chance(30) {
		r.Lease = g.lease()
	}
	r.IgnoreLease = g.chance(10)
	return r
}

func (g *generator) delete() *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: g.key(), RangeEnd: g.end(), PrevKv: g.chance(50)}
}

func (g *generator) read() *pb.RangeRequest {
	r := &pb.RangeRequest{Key: g.key(), RangeEnd: g.end(), Limit: int64(g.IntN(4)), KeysOnly: g.chance(20), CountOnly: g.chance(10)}
	if g.chance(30) {
		r.Revision = g.revision()
	}
	if g.chance(30) { // by key: the order of equals is nobody's promise
		r.SortOrder = pb.RangeRequest_SortOrder(g.IntN(3))
		r.SortTarget = pb.RangeRequest_KEY
	}
	if g.chance(10) {
		r.MinModRevision, r.MaxCreateRevision = g.revision(), g.revision()
	}
	return r
}

func (g *generator) txn(depth int) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range g.IntN(3) {
		c := &pb.Compare{Key: g.key(), Result: pb.Compare_CompareResult(g.IntN(4))}
		if g.chance(20) {
			c.RangeEnd = g.end()
		}
		switch c.Target = pb.Compare_CompareTarget(g.IntN(5)); c.Target {
		case pb.Compare_VERSION:
			c.TargetUnion = &pb.Compare_Version{Version: int64(g.IntN(3))}
		case pb.Compare_CREATE:
			c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: g.revision()}
		case pb.Compare_MOD:
			c.TargetUnion = &pb.Compare_ModRevision{ModRevision: g.revision()}
		case pb.Compare_VALUE:
			c.TargetUnion = &pb.Compare_Value{Value: []byte{"xyz"[g.IntN(3)]}}
		case pb.Compare_LEASE:
			c.TargetUnion = &pb.Compare_Lease{Lease: g.lease() % 2}
		}
		r.Compare = append(r.Compare, c)
	}
	r.Success, r.Failure = g.ops(depth), g.ops(depth)
	return r
}

func (g *generator) ops(depth int) []*pb.RequestOp {
	var ops []*pb.RequestOp
	for range g.IntN(4) {
		switch p := g.IntN(10); {
		case p < 4:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: g.put()}})
		case p < 6:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.read()}})
		case p < 8 || depth == 0:
			r := g.delete()
			if string(r.RangeEnd) == "\x00" {
				r.RangeEnd = nil // followed by a put that keeps the value of what is deleted, it ends a real etcd
			}
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}})
		default:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txn(depth - 1)}})
		}
	}
	return ops
}
