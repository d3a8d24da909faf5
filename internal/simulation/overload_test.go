package simulation

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
)

// overload turns away every transaction that puts something, as etcd does that has applied much less than it has committed.
// All else is answered.
type overload struct {
	on         atomic.Bool
	turnedAway atomic.Int64
}

func (o *overload) option() grpc.DialOption {
	puts := func(op *pb.RequestOp) bool { return op.GetRequestPut() != nil }
	return unaryMutation(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if txn, isTxn := req.(*pb.TxnRequest); isTxn && o.on.Load() && slices.ContainsFunc(txn.Success, puts) {
			o.turnedAway.Add(1)
			return rpctypes.ErrGRPCRequestTooManyRequests
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

// To leave an overloaded member is to begin everything anew on the next one: every watch, and a read of every key.
func TestAnOverloadedEtcdIsAskedForNothingAgainButWhatItTurnedAway(t *testing.T) {
	t.Parallel()
	n := fewer(200)
	scene(t, family{}, func(w *world) {
		var o overload
		r := w.join(through(o.option()))
		all := r.provide(service, numbered(n)...)
		w.pass(time.Minute)
		o.on.Store(true)
		asked := w.bill("a minute of one update that is turned away", func() {
			ctx, cancel := within(time.Minute)
			defer cancel()
			if err := all[0].Update(ctx, func(i *rollcall.Instance) { i.Weight = 7 }); err == nil {
				t.Error("an update that etcd turned away was confirmed")
			}
		})
		o.on.Store(false)
		w.hold("one update that is turned away", asked, bill{"WatchCreate": 3 * n, "Txn": 700, rest: 60})
		if tries := o.turnedAway.Load(); tries < 10 || tries > 600 {
			t.Errorf("it was tried %d times in a minute", tries)
		}
		w.pass(5 * time.Second)
		if w.oracle.era().now[all[0].Instance().ID].Weight != 7 {
			t.Error("the update did not come when there was room for it")
		}
	})
}

// To begin anew with the only member there is, because it takes its time, is more work for one that has too much of it.
func TestAnEtcdThatIsSlowAndTheOnlyOneIsWaitedFor(t *testing.T) {
	t.Parallel()
	scene(t, family{}, func(w *world) {
		alone := w.cluster.Member(0)
		var tries meter
		r := w.join(through(tries.options(w)...), func(cfg *clientv3.Config) { cfg.Endpoints = []string{alone.Endpoint()} })
		r.ttls = []time.Duration{rollcall.MinTTL}
		r.provide(service, numbered(3)...)
		w.pass(10 * time.Second)
		tries.read()
		alone.Slow(900 * time.Millisecond)
		w.pass(time.Minute)
		if n := w.expired(); n > 0 {
			t.Errorf("%d keys ran out while etcd answered, if slowly", n)
		}
		if n := tries.read()[dialled]; n > 10 {
			t.Errorf("in a minute it was dialled %d times", n)
		}
		alone.Heal()
		w.pass(10 * time.Second)
		w.settled(r)
	})
}
