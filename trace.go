package rollcall

import (
	"context"
	"log/slog"
	"time"
)

// TraceFunc is told when an operation begins, by its name and what it is about, and returns the context for the operation and a function
// that is called when it ends, with its error or nil. It must not block; it may be called concurrently.
//
// "heal" is no operation of a caller's: it is told when a registration is back in etcd, and begins and ends then. Its attribute "since", a
// time, is when etcd was first known not to have it.
//
// The other operations are "register", "update", "drain", "deregister", "expire", "resume" and "lookup". Attributes are "service" and "instance", an id,
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

// healed is told that etcd has an instance's key again. It is called with a keeper's lock held.
func (r *etcd) healed(key string, since time.Time) {
	service, ok := r.layout.serviceOf(key)
	if !ok {
		return // no instance's
	}
	r.counts.healed.Add(1)
	if r.trace == nil {
		return
	}
	id, _ := idOf(r.layout.dir(service), key)
	r.wg.Go(func() {
		_, end := r.trace(r.ctx, "heal", slog.String("service", service), slog.String("instance", id), slog.Time("since", since))
		end(nil)
	})
}
