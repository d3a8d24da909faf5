// Package tracing makes OpenTelemetry spans of what a registry does.
//
//	reg, err := rollcall.Open(cfg, tracing.Option(otel.GetTracerProvider()))
//
// Register, Update, Drain, Deregister, Expire, Resume and Lookup are a span each, a child of the one in their context, named "rollcall register"
// and so on. Its attributes are rollcall.service and rollcall.instance; when the operation fails its status says so. What a registry does by
// itself, such as heartbeats, is no span.
package tracing

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/rollcall-io/rollcall"
)

// scope is the name of what makes the spans.
const scope = "github.com/rollcall-io/rollcall/tracing"

// Option has a registry make spans by a provider. Nil makes none.
func Option(provider trace.TracerProvider) rollcall.Option {
	if provider == nil {
		return rollcall.WithTrace(nil)
	}
	tracer := provider.Tracer(scope)
	return rollcall.WithTrace(func(ctx context.Context, operation string, attrs ...slog.Attr) (context.Context, func(error)) {
		ctx, span := tracer.Start(ctx, "rollcall "+operation, options(attrs)...)
		return ctx, func(err error) {
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		}
	})
}

// options turns what an operation is about into attributes. One that began earlier says since when.
func options(attrs []slog.Attr) []trace.SpanStartOption {
	var opts []trace.SpanStartOption
	var kept []attribute.KeyValue
	for _, a := range attrs {
		if a.Value.Kind() == slog.KindTime && a.Key == "since" {
			opts = append(opts, trace.WithTimestamp(a.Value.Time()))
			continue
		}
		kept = append(kept, attribute.String("rollcall."+a.Key, a.Value.String()))
	}
	return append(opts, trace.WithAttributes(kept...))
}
