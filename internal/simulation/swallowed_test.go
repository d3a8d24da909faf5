package simulation

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// comparison is the longest time between two comparisons of what a watcher holds with what etcd holds: five minutes and a
// fifth, and what the comparison itself and reading again take.
const comparison = 6*time.Minute + 10*time.Second

// swallower loses one event of a watch whenever it is told to.
type swallower struct{ hungry, fed atomic.Int32 }

func (s *swallower) options(*world) clientOptions {
	return clientOptions{grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		stream, err := open(ctx, desc, cc, method, opts...)
		return &swallowingStream{stream, s}, err
	})}
}

type swallowingStream struct {
	grpc.ClientStream
	by *swallower
}

func (s *swallowingStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	r, isWatch := m.(*pb.WatchResponse)
	if err == nil && isWatch && len(r.Events) > 0 && s.by.hungry.CompareAndSwap(1, 0) {
		s.by.fed.Add(1)
		r.Events = r.Events[1:]
	}
	return err
}

// A watch that loses an event says nothing of it, and no revision and no probe can tell: only the comparison can.
func TestSimulatedEventsThatAWatchLostAreFoundByComparison(t *testing.T) {
	for seed := range uint64(defaultSeeds(20)) {
		s := &swallower{}
		f := family{writers: 4, watchers: 1, client: s.options, schedule: func(w *world) { loseEvents(w, s) }}
		if broken := play(t, f, seed+1); broken != nil {
			t.Fatal(broken)
		}
	}
}

func loseEvents(w *world, s *swallower) {
	for range 2 {
		w.pass(w.upTo(time.Minute))
		w.oracle.blind = true // until it is found
		s.hungry.Store(1)
		id, _ := w.target()
		if w.rnd.IntN(2) == 0 {
			w.note("delete %s, untold", id)
			w.cluster.DeleteKey(dir + id)
		} else {
			w.note("change %s, untold", id)
			_ = w.cluster.PutKey(dir+id, stranger, 0)
		}
		if w.rnd.IntN(2) == 0 {
			w.pass(w.upTo(time.Minute))
			w.processes[0].act() // what comes later is told
		}
		w.pass(comparison)
		w.oracle.blind = false
		if n := s.fed.Swap(0); n != 1 && w.broken == nil {
			w.t.Errorf("%d events were lost, want 1", n)
		}
		w.pass(time.Second)
	}
}
