package server

import (
	"cmp"
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// describe says in a call's span what its request is about.
func describe(ctx context.Context, request any) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	if r, ok := request.(interface{ GetService() string }); ok && r.GetService() != "" {
		span.SetAttributes(attribute.String("rollcall.service", r.GetService()))
	}
	if id := instanceOf(request); id != "" {
		span.SetAttributes(attribute.String("rollcall.instance", id))
	}
}

// instanceOf returns the id of the instance that a request is about; "" for none.
func instanceOf(request any) string {
	switch r := request.(type) {
	case interface{ GetId() string }:
		return r.GetId()
	case *rollcallv1.RegisterRequest:
		return cmp.Or(r.GetInstance().GetId(), r.GetInstance().GetAddr())
	}
	return ""
}

func describeCall(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	describe(ctx, request)
	return handler(ctx, request)
}

func describeStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, describedStream{ss})
}

// describedStream describes a stream by each message that comes in: a watch by its only one, a session by its last.
type describedStream struct{ grpc.ServerStream }

// RecvMsg implements [grpc.ServerStream].
func (s describedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		describe(s.Context(), m)
	}
	return err
}

// childrenOnly leaves calls alone that nobody with a span has asked for.
type childrenOnly struct{ stats.Handler }

type childKey struct{}

// TagRPC implements [stats.Handler].
func (h childrenOnly) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return h.Handler.TagRPC(context.WithValue(ctx, childKey{}, true), info)
}

// HandleRPC implements [stats.Handler].
func (h childrenOnly) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if ctx.Value(childKey{}) != nil {
		h.Handler.HandleRPC(ctx, s)
	}
}
