package integration

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// The probe would notice in its time what happened here; it is refused, so that the watch must see it by itself.
func TestAStoreWipedBetweenListAndWatchIsReadAgain(t *testing.T) {
	t.Parallel()
	before, after := etcdtest.Start(t), etcdtest.Start(t)
	put(t, before.Client(t), "rollcall/services/svc/a", bare)
	put(t, before.Client(t), "rollcall/services/svc/b", bare)
	put(t, after.Client(t), "rollcall/services/svc/a", `{"Addr":"10.1.1.1:1"}`) // at the revision that it had before

	var wiped atomic.Bool
	now := after.Client(t).ActiveConnection()
	unary := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if read, ok := req.(*pb.RangeRequest); ok && len(read.RangeEnd) == 0 {
			return status.Error(codes.PermissionDenied, "no probes")
		}
		if wiped.Load() {
			return now.Invoke(ctx, method, req, reply, opts...)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	stream := func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if strings.HasSuffix(method, "/Watch") {
			wiped.Store(true)
			return now.NewStream(ctx, desc, method, opts...)
		}
		return open(ctx, desc, cc, method, opts...)
	}
	reg := openWith(t, before.Endpoint(), grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream))
	w := watch(t, reg, "svc")
	mustEqual(t, "before", ids(next(t, w)), []string{"a", "b"})
	v := until(t, w, 15*time.Second, "the new store", hasIDs("a"))
	mustEqual(t, "reset", v.Reset, true)
	mustEqual(t, "address", v.Instances[0].Addr, "10.1.1.1:1")
	mustEqual(t, "updates", describe(v.Updates), []string{"modify a", "expire b"})
}
