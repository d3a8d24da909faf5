package simulation

import (
	"context"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
)

// unaryMutation makes an option of an interceptor.
func unaryMutation(i grpc.UnaryClientInterceptor) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(i)
}

// noProbe answers every probe with the newest header that came anyhow, as if nobody had asked etcd.
func noProbe(*world) clientOptions {
	n := &newestHeader{}
	return clientOptions{
		unaryMutation(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			r, isRange := req.(*pb.RangeRequest)
			if isRange && string(r.Key) == dir && len(r.RangeEnd) == 0 {
				if h := n.get(); h != nil {
					reply.(*pb.RangeResponse).Header = h
					return nil
				}
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, desc, cc, method, opts...)
			return &headerStream{s, n}, err
		}),
	}
}

// newestHeader is the header of the newest answer of a watch.
type newestHeader struct {
	mu sync.Mutex
	h  *pb.ResponseHeader
}

func (n *newestHeader) get() *pb.ResponseHeader {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.h
}

type headerStream struct {
	grpc.ClientStream
	newest *newestHeader
}

func (s *headerStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if r, isWatch := m.(*pb.WatchResponse); isWatch && err == nil && r.Header.GetRevision() > 0 {
		s.newest.mu.Lock()
		defer s.newest.mu.Unlock()
		s.newest.h = r.Header
	}
	return err
}

func TestAWatcherThatDoesNotProbeIsCaught(t *testing.T) {
	f := watchers()
	f.client = noProbe
	mustBreak(t, f, 100, "no silence", "convergence")
}

func TestAWatcherThatDoubtsNothingIsCaught(t *testing.T) {
	f := watchers()
	f.options = []rollcall.Option{rollcall.WithSuspicion(0)}
	mustBreak(t, f, 100, "no shrink")
}

// unfencedRevoke says that a lease is revoked, and revokes nothing.
func unfencedRevoke(*world) clientOptions {
	return clientOptions{unaryMutation(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, isRevoke := req.(*pb.LeaseRevokeRequest); isRevoke {
			return nil
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})}
}

func TestACloseThatRevokesNothingIsCaught(t *testing.T) {
	f := registrars()
	f.client = unfencedRevoke
	mustBreak(t, f, 5, "clean close")
}

// patientHeartbeats takes the watchdog from the heartbeats: a stream that keeps silent is waited for until the end.
func patientHeartbeats(w *world) clientOptions {
	return clientOptions{grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if method == keepAliveMethod {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
			go func() {
				<-w.ending
				cancel()
			}()
		}
		return open(ctx, desc, cc, method, opts...)
	})}
}

func TestHeartbeatsWithoutAWatchdogAreCaught(t *testing.T) {
	f := registrars()
	f.client = patientHeartbeats
	mustBreak(t, f, 50, "never falsely absent")
}
