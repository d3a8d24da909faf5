package simulation

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
)

// resets counts the views of a watcher that say that etcd's history broke.
func resets(watcher *rollcall.Watcher) *atomic.Int64 {
	n := new(atomic.Int64)
	go func() { // until the registry is closed
		for v, err := range watcher.Views(context.Background()) {
			if err == nil && v.Reset {
				n.Add(1)
			}
		}
	}()
	return n
}

func TestAWipeResetsEachOfManyViewsOnce(t *testing.T) {
	t.Parallel()
	scene(t, family{}, func(w *world) {
		r := w.join()
		var counts []*atomic.Int64
		for n := range 20 {
			service := fmt.Sprint("s", n)
			r.provide(service, "a")
			counts = append(counts, resets(r.follow(service)))
		}
		w.pass(time.Minute)
		w.replace(w.cluster.Wipe, 1, nil, nil)
		w.pass(time.Minute)
		for n, count := range counts {
			if got := count.Load(); got != 1 {
				t.Errorf("the view of s%d was reset %d times, want once", n, got)
			}
		}
	})
}

// What is still held of a service that cannot be listed is of the history that ended. It is no news of a further break.
func TestAServiceThatCannotBeListedAfterAWipeResetsNoOther(t *testing.T) {
	t.Parallel()
	var heavy atomic.Bool
	hindered := unaryMutation(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if r, isRange := req.(*pb.RangeRequest); isRange && r.Limit > 1 && heavy.Load() && strings.Contains(string(r.Key), "/large/") {
			<-ctx.Done()
			return rpctypes.ErrGRPCTimeout
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
	scene(t, family{}, func(w *world) {
		r := w.join(through(hindered))
		r.provide("large", "a")
		r.provide("small", "a")
		r.follow("large")
		count := resets(r.follow("small"))
		w.pass(time.Minute)
		heavy.Store(true)
		w.replace(w.cluster.Wipe, 1, nil, nil)
		w.pass(3 * time.Minute)
		if n := count.Load(); n != 1 {
			t.Errorf("in three minutes the view of the other service was reset %d times, want once", n)
		}
	})
}
