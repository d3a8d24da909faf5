//go:build unix

package channel

import (
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// wheel picks its connections in turn.
type wheel struct {
	conns []balancer.SubConn
	turn  int
}

func (w *wheel) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	w.turn++
	return balancer.PickResult{SubConn: w.conns[w.turn%len(w.conns)]}, nil
}

type namedConn struct {
	balancer.SubConn
	name string
}

// Only what a caller would get from now on counts: not the connection, but the picker that has it.
func TestAnInstanceIsSeenToComeWithTheFirstPickerThatPicksIt(t *testing.T) {
	t.Parallel()
	old, wanted := &namedConn{name: "old"}, &namedConn{name: "wanted"}
	s := &sight{}
	s.look("wanted:1", true, 10)
	publish := func(at int64, conns ...balancer.SubConn) {
		s.published(balancer.State{ConnectivityState: connectivity.Ready, Picker: &wheel{conns: conns}}, time.Unix(at, 0))
	}
	publish(1, old, wanted) // cannot be: its connection is not READY
	s.connected("wanted:1", wanted)
	publish(2, old)
	publish(3, old, wanted)
	publish(4, old, wanted)
	if got := s.seen(time.Second); got.Unix() != 3 {
		t.Errorf("seen in picker %d, want the third", got.Unix())
	}
}

func TestAnInstanceIsSeenToGoWithTheFirstPickerThatPicksItNoMore(t *testing.T) {
	t.Parallel()
	old, wanted := &namedConn{name: "old"}, &namedConn{name: "wanted"}
	s := &sight{}
	s.look("wanted:1", true, 10)
	s.connected("wanted:1", wanted)
	s.look("wanted:1", false, 10)
	publish := func(at int64, conns ...balancer.SubConn) {
		s.published(balancer.State{ConnectivityState: connectivity.Ready, Picker: &wheel{conns: conns}}, time.Unix(at, 0))
	}
	list := func(addrs ...string) {
		var all []resolver.Endpoint
		for _, addr := range addrs {
			all = append(all, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
		}
		s.listed(all)
	}
	list("old:1", "wanted:1")
	publish(1, old) // a connection that was lost, say: the instance is still there
	list("old:1")
	publish(2, old, wanted)
	publish(3, old)
	if got := s.seen(time.Second); got.Unix() != 3 {
		t.Errorf("seen in picker %d, want the third", got.Unix())
	}
}

func TestWhatNeverComesIsNotSeen(t *testing.T) {
	t.Parallel()
	s := &sight{}
	s.look("wanted:1", true, 10)
	s.lists([]string{"old:1"}, time.Unix(1, 0))
	if got := s.seen(time.Millisecond); !got.IsZero() {
		t.Errorf("seen at %v, want never", got)
	}
}
