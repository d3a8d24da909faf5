package simulation

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

const slowPage = 2500 * time.Millisecond // within what one page may take

// manyPages makes of a list one of many pages, each of which may take long, from an etcd that cannot stream them. Small
// reads are answered at once.
func manyPages(slow *atomic.Bool) clientOptions {
	return clientOptions{
		unaryMutation(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if r, isRange := req.(*pb.RangeRequest); isRange && r.Limit > 1 {
				r.Limit = 2
				if slow.Load() {
					time.Sleep(slowPage)
				}
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if method == "/etcdserverpb.KV/RangeStream" {
				return nil, status.Error(codes.Unimplemented, "an etcd before 3.7")
			}
			return open(ctx, desc, cc, method, opts...)
		}),
	}
}

// While a list is under way no watch is open, and every probe says that etcd is well: only time can tell.
func TestAViewWhoseListTakesLongSaysThatItIsStale(t *testing.T) {
	t.Parallel()
	scene(t, family{}, func(w *world) {
		const n = 12 // so six pages, fifteen seconds
		put := func(id string) {
			if err := w.cluster.PutKey("rollcall/services/"+other+"/"+id, stranger, 0); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			put(fmt.Sprintf("%02d", i))
		}
		var slow atomic.Bool
		r := w.join(through(manyPages(&slow)...))
		watcher := r.follow(other)
		w.pass(10 * time.Second)
		slow.Store(true)
		r.relist(other)
		w.pass(slowPage + time.Second/2) // the first page is there, and says of which revision the list is
		put("new")
		began := time.Now()
		v := w.next(watcher)
		if took := time.Since(began); took > silence || v.StaleSince.IsZero() && len(v.Instances) == n {
			t.Errorf("after %v came a view of %d instances, stale since %v", took, len(v.Instances), v.StaleSince)
		}
	})
}

// relist has a followed service be read again, and does not wait for it.
func (r *registrant) relist(service string) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	watcher := r.registry().Watch(service, rollcall.WithLinearizable())
	defer watcher.Close()
	_, _ = watcher.Next(ctx)
}
