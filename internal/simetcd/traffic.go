package simetcd

import (
	"context"
	"path"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// unary lets a call in, and into the books.
func (m *Member) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	c := m.cluster
	c.mu.Lock()
	m.book(path.Base(info.FullMethod))
	refused := requiresLeader(ctx) && !m.seesLeader()
	c.mu.Unlock()
	if refused {
		return nil, rpctypes.ErrGRPCNoLeader
	}
	return handler(ctx, req)
}

// book writes a request into the books. The caller holds the mutex.
func (m *Member) book(kind string) {
	m.cluster.requests = append(m.cluster.requests, Request{At: time.Now(), Member: m.name, Kind: kind})
}

func requiresLeader(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get(rpctypes.MetadataRequireLeaderKey)
	return len(values) > 0 && values[0] == rpctypes.MetadataHasLeader
}

// stream lets a stream in, and ends it when it requires a leader and there has been none for too long.
func (m *Member) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	c := m.cluster
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	s := &stream{ServerStream: ss, member: m, ctx: ctx, cancel: cancel}
	if requiresLeader(ctx) {
		c.mu.Lock()
		sees := m.seesLeader()
		if sees {
			m.streams[s] = true
		}
		c.mu.Unlock()
		if !sees {
			return rpctypes.ErrGRPCNoLeader
		}
		defer c.do(func() { delete(m.streams, s) })
	}
	return handler(srv, s)
}

// stream is a stream whose context tells why it ended, and whose requests are booked.
type stream struct {
	grpc.ServerStream
	member *Member
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) RecvMsg(message any) error {
	if err := s.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	s.member.cluster.mu.Lock()
	defer s.member.cluster.mu.Unlock()
	s.member.book(kindOf(message))
	return nil
}

func kindOf(message any) string {
	switch r := message.(type) {
	case *pb.LeaseKeepAliveRequest:
		return "LeaseKeepAlive"
	case *pb.RangeRequest:
		return "RangeStream"
	case *pb.WatchRequest:
		switch {
		case r.GetCreateRequest() != nil:
			return "WatchCreate"
		case r.GetProgressRequest() != nil:
			return "WatchProgress"
		}
		return "WatchCancel"
	}
	return "other"
}

// received is a request, or the end of all requests.
type received[Request any] struct {
	request *Request
	err     error
}

// receive reads a stream's requests on a goroutine of its own: grpc's reading ends only when the handler has returned,
// and a handler must be able to return when the stream's context ends.
func receive[Request, Response any](c *Cluster, stream grpc.BidiStreamingServer[Request, Response]) <-chan received[Request] {
	requests := make(chan received[Request])
	c.wg.Go(func() {
		for {
			request, err := stream.Recv()
			select {
			case requests <- received[Request]{request, err}:
			case <-stream.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return requests
}
