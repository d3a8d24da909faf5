package server

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// leaveWithin is the time over which the streams of a server that stops are ended: their clients all go to the servers that are left.
const leaveWithin = time.Second

// leaving ends streams when the server stops, one by one.
type leaving struct {
	ctx     context.Context // ends when the server begins to stop
	begin   context.CancelFunc
	streams atomic.Int64 // that are open
}

func newLeaving() *leaving {
	l := new(leaving)
	l.ctx, l.begin = context.WithCancel(context.Background())
	return l
}

// option has a server's streams end with l.
func (l *leaving) option() grpc.ServerOption { return grpc.ChainStreamInterceptor(l.stream) }

func (l *leaving) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	l.streams.Add(1)
	defer l.streams.Add(-1)
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	var told atomic.Bool
	stop := context.AfterFunc(l.ctx, func() {
		t := time.AfterFunc(rand.N(leaveWithin), func() { told.Store(true); cancel() })
		context.AfterFunc(ctx, func() { t.Stop() })
	})
	defer stop()
	err := handler(srv, &leavingStream{ss, ctx})
	if told.Load() {
		return status.Error(codes.Unavailable, "the server stops: come back, here or to another server")
	}
	return err
}

type leavingStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements [grpc.ServerStream].
func (s *leavingStream) Context() context.Context { return s.ctx }
