package rollcall

import (
	"context"
	"log/slog"
)

// TraceFunc is told when an operation begins, by its name and what it is about, and returns the context for the operation and a function
// that is called when it ends, with its error or nil. It must not block; it may be called concurrently.
//
// The operations are "register", "update", "drain", "deregister", "expire", "resume" and "lookup". Attributes are "service" and "instance", an id,
// where there is one.
type TraceFunc func(ctx context.Context, operation string, attrs ...slog.Attr) (context.Context, func(error))

// WithTrace has the registry tell when its operations begin and end, for tracing: see package tracing, which makes spans of them. The
// default, nil, tells nobody and costs nothing.
func WithTrace(f TraceFunc) Option {
	return func(s *settings) { s.trace = f }
}

// traced tells that an operation begins, and returns who is to be told that it has ended.
func (s *settings) traced(ctx context.Context, operation, service, id string) (context.Context, func(error)) {
	if s.trace == nil {
		return ctx, untraced
	}
	attrs := []slog.Attr{slog.String("service", service)}
	if id != "" {
		attrs = append(attrs, slog.String("instance", id))
	}
	return s.trace(ctx, operation, attrs...)
}

func untraced(error) {}
