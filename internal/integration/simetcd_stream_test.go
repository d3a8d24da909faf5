package integration

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

var streamScenarios = []scenario{
	{name: "a streamed read comes in chunks that grow", run: streamGrows},
	{name: "chunks of large values shrink", run: streamShrinks},
	{name: "a streamed read has limits as a read has", run: streamHasLimits},
	{name: "a streamed read refuses orders and filters", run: streamRefuses},
	{name: "a streamed read is of one revision", run: streamIsOfOneRevision},
	{name: "a compaction ends a streamed read of what it drops", run: compactionEndsStream},
	{name: "a streamed read wants permission for its range", run: streamWantsPermission, own: true},
	{name: "a client collects a streamed read", run: clientCollectsStream},
}

// streaming is a streamed read as it lies on the wire.
type streaming struct {
	t *testing.T
	pb.KV_RangeStreamClient
}

func openStream(t *testing.T, c *clientv3.Client, r *pb.RangeRequest) *streaming {
	t.Helper()
	return &streaming{t, must[pb.KV_RangeStreamClient](t)(pb.NewKVClient(c.ActiveConnection()).RangeStream(bounded(t), r))}
}

// rest reads to the end: how many keys each chunk has, and the last chunk. Only that one says more than keys.
func (s *streaming) rest() (sizes []int, last *pb.RangeResponse, err error) {
	s.t.Helper()
	for {
		resp, err := s.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return sizes, last, err
		}
		if last != nil && (last.Header != nil || last.Count != 0 || last.More) {
			s.t.Errorf("chunk %d: header %v, count %d, more %v", len(sizes), last.Header, last.Count, last.More)
		}
		last = resp.RangeResponse
		sizes = append(sizes, len(last.Kvs))
	}
}

// whole reads everything that a request asks for: the sizes of the chunks, count, more and the last key.
func whole(t *testing.T, c *clientv3.Client, r *pb.RangeRequest) string {
	t.Helper()
	sizes, last, err := openStream(t, c, r).rest()
	if err != nil {
		t.Fatal(err)
	}
	name := "nothing"
	if n := len(last.Kvs); n > 0 {
		name = strings.TrimPrefix(string(last.Kvs[n-1].Key), string(r.Key))
	}
	if last.Header.GetClusterId() == 0 || last.Header.MemberId == 0 || last.Header.RaftTerm == 0 {
		t.Errorf("header %v", last.Header)
	}
	return fmt.Sprint(sizes, " of ", last.Count, " to ", name, map[bool]string{true: " and more"}[last.More])
}

func ranged(prefix string) *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix))}
}

// putMany puts n keys of three digits under a prefix.
func putMany(t *testing.T, c *clientv3.Client, prefix string, n int, value string) {
	t.Helper()
	for i := range n {
		put(t, c, fmt.Sprintf("%s%03d", prefix, i), value)
	}
}

func streamGrows(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	mustEqual(t, "no keys", whole(t, c, ranged(prefix)), "[0] of 0 to nothing")
	putMany(t, c, prefix, 10, "v")
	mustEqual(t, "10 keys", whole(t, c, ranged(prefix)), "[10] of 10 to 009")
	putMany(t, c, prefix, 75, "v")
	mustEqual(t, "75 keys", whole(t, c, ranged(prefix)), "[10 20 40 5] of 75 to 074")
	one := &pb.RangeRequest{Key: []byte(prefix + "007")}
	mustEqual(t, "one key", whole(t, c, one), "[1] of 1 to ")
	rev := head(t, c)
	_, last, err := openStream(t, c, ranged(prefix)).rest()
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "revision in the header", last.Header.Revision, rev)
}

func streamShrinks(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	putMany(t, c, prefix, 30, strings.Repeat("x", 400<<10)) // ten are more than twice what etcd aims at
	mustEqual(t, "large values", whole(t, c, ranged(prefix)), "[10 5 5 5 5] of 30 to 029")
}

func streamHasLimits(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	putMany(t, c, prefix, 40, "old")
	rev := head(t, c)
	putMany(t, c, prefix, 45, "new")
	for _, row := range []struct {
		what string
		set  func(*pb.RangeRequest)
		want string
	}{
		{"a limit", func(r *pb.RangeRequest) { r.Limit = 17 }, "[10 7] of 45 to 016 and more"},
		{"a limit at the end of a chunk", func(r *pb.RangeRequest) { r.Limit = 10 }, "[10] of 45 to 009 and more"},
		{"a limit of as many as there are", func(r *pb.RangeRequest) { r.Limit = 45 }, "[10 20 15] of 45 to 044"},
		{"the count only", func(r *pb.RangeRequest) { r.CountOnly = true }, "[0] of 45 to nothing"},
		{"the count only, in spite of a limit", func(r *pb.RangeRequest) { r.CountOnly, r.Limit = true, 3 }, "[0] of 45 to nothing"},
		{"an old revision", func(r *pb.RangeRequest) { r.Revision = rev }, "[10 20 10] of 40 to 039"},
		{"serializable, by key", func(r *pb.RangeRequest) {
			r.Serializable, r.SortOrder = true, pb.RangeRequest_ASCEND
		}, "[10 20 15] of 45 to 044"},
	} {
		r := ranged(prefix)
		row.set(r)
		mustEqual(t, row.what, whole(t, c, r), row.want)
	}
	r := ranged(prefix)
	r.KeysOnly, r.Limit = true, 1
	_, last, err := openStream(t, c, r).rest()
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "keys only", [2]any{string(last.Kvs[0].Value), last.Kvs[0].Version}, [2]any{"", int64(2)})
	r = ranged(prefix)
	r.Revision = rev
	if _, last, err = openStream(t, c, r).rest(); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "revision in the header of an old read", last.Header.Revision, rev+45)
}

func streamRefuses(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"k", "1")
	put(t, c, prefix+"k", "2")
	rev := head(t, c)
	must[*clientv3.CompactResponse](t)(c.Compact(bounded(t), rev))
	for _, row := range []struct {
		what string
		set  func(*pb.RangeRequest)
		want error
	}{
		{"no key", func(r *pb.RangeRequest) { r.Key = nil }, rpctypes.ErrGRPCEmptyKey},
		{"no such order", func(r *pb.RangeRequest) { r.SortOrder = 7 }, rpctypes.ErrGRPCInvalidSortOption},
		{
			"descending", func(r *pb.RangeRequest) { r.SortOrder = pb.RangeRequest_DESCEND },
			status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders"),
		},
		{
			"by value", func(r *pb.RangeRequest) { r.SortOrder, r.SortTarget = pb.RangeRequest_ASCEND, pb.RangeRequest_VALUE },
			status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders"),
		},
		{
			"changed since", func(r *pb.RangeRequest) { r.MinModRevision = 1 },
			status.Error(codes.Unimplemented, "RangeStream does not support revision filters"),
		},
		{
			"created before", func(r *pb.RangeRequest) { r.MaxCreateRevision = 1 },
			status.Error(codes.Unimplemented, "RangeStream does not support revision filters"),
		},
		{"the future", func(r *pb.RangeRequest) { r.Revision = rev + 1 }, rpctypes.ErrGRPCFutureRev},
		{"the past", func(r *pb.RangeRequest) { r.Revision = rev - 1 }, rpctypes.ErrGRPCCompacted},
	} {
		r := ranged(prefix)
		row.set(r)
		_, _, err := openStream(t, c, r).rest()
		mustEqual(t, row.what, fmt.Sprint(err), fmt.Sprint(row.want))
	}
}

// stuck begins a streamed read of 60 keys that are too large for the buffers between etcd and its client: etcd cannot
// have read the last of them when this returns.
func stuck(t *testing.T, w world, prefix string) *streaming {
	t.Helper()
	c := w.Client(t, -1)
	putMany(t, c, prefix, 60, strings.Repeat("x", 100<<10))
	s := openStream(t, c, ranged(prefix))
	mustEqual(t, "keys in the first chunk", len(must[*pb.RangeStreamResponse](t)(s.Recv()).RangeResponse.Kvs), 10)
	return s
}

func streamIsOfOneRevision(t *testing.T, w world, prefix string) {
	s, c := stuck(t, w, prefix), w.Client(t, -1)
	rev := head(t, c)
	put(t, c, prefix+"999", "late")
	must[*clientv3.DeleteResponse](t)(c.Delete(bounded(t), prefix+"059"))
	sizes, last, err := s.rest()
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "chunks", fmt.Sprint(sizes), "[10 10 10 10 10]")
	mustEqual(t, "the last key and the revision", [2]any{string(last.Kvs[9].Key), last.Header.Revision}, [2]any{prefix + "059", rev})
}

func compactionEndsStream(t *testing.T, w world, prefix string) {
	s, c := stuck(t, w, prefix), w.Client(t, -1)
	put(t, c, prefix+"000", "late")
	must[*clientv3.CompactResponse](t)(c.Compact(bounded(t), head(t, c)))
	_, last, err := s.rest()
	mustFail(t, "the rest", err, rpctypes.ErrCompacted)
	mustEqual(t, "header before the end", last.GetHeader() == nil, true)
}

func streamWantsPermission(t *testing.T, w world, prefix string) {
	admin, user := guarded(t, w, prefix)
	putMany(t, user, prefix, 3, "v")
	mustEqual(t, "what the user may read", whole(t, user, ranged(prefix)), "[3] of 3 to 002")
	_, _, err := openStream(t, user, ranged("/")).rest()
	mustFail(t, "a wider read", err, rpctypes.ErrPermissionDenied)
	_, _, err = openStream(t, w.Client(t, -1), ranged(prefix)).rest()
	mustFail(t, "nobody's read", err, rpctypes.ErrUserEmpty)
	must[*clientv3.AuthUserRevokeRoleResponse](t)(admin.UserRevokeRole(bounded(t), "jie", "member"))
	_, _, err = openStream(t, user, ranged(prefix)).rest()
	mustFail(t, "without the role", err, rpctypes.ErrPermissionDenied)
}

func clientCollectsStream(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	putMany(t, c, prefix, 33, "v")
	got := must[*clientv3.GetResponse](t)(clientv3.GetStreamToGetResponse(
		must[clientv3.GetStreamChan](t)(c.GetStream(bounded(t), prefix, clientv3.WithPrefix()))))
	want := must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix, clientv3.WithPrefix()))
	mustEqual(t, "keys", names(got.Kvs, prefix), names(want.Kvs, prefix))
	mustEqual(t, "count, more and revision", [3]any{got.Count, got.More, got.Header.Revision}, [3]any{want.Count, want.More, want.Header.Revision})
}

// An etcd before 3.7 does not know the call; its client learns that from the channel only.
func TestAFakeEtcdBefore37CannotStreamReads(t *testing.T) {
	t.Parallel()
	simulate(t, 1, func(t *testing.T, w *simulated) {
		c := w.Client(t, 0)
		put(t, c, "k", "1")
		_, err := clientv3.GetStreamToGetResponse(must[clientv3.GetStreamChan](t)(c.GetStream(bounded(t), "k")))
		mustEqual(t, "code", status.Code(err), codes.Unimplemented)
		must[*clientv3.GetResponse](t)(c.Get(bounded(t), "k"))
		mustEqual(t, "version", must[*clientv3.StatusResponse](t)(c.Status(bounded(t), w.sim.Endpoints()[0])).Version, "3.6.16")
		mustEqual(t, "streamed reads in the books", w.sim.Count("RangeStream"), 0)
	}, func(o *simetcd.Options) { o.Version = "3.6.16" })
}
