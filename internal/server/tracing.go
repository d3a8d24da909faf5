package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/tracing"
)

// traceFlush is what the spans that are left have to get out when a server stops.
const traceFlush = 2 * time.Second

// traces sends spans to a collector, as the environment says: see openTraces. The nil traces makes none, and costs nothing.
type traces struct {
	provider *sdktrace.TracerProvider
	exporter sdktrace.SpanExporter
	logger   *slog.Logger

	mu         sync.Mutex
	complained time.Time // when a failure to send was last logged
}

// openTraces returns nil unless one of the OTEL_ variables names an endpoint. How to reach it, what to sample, what to call us: all of that
// the variables say, as OpenTelemetry has them. Nothing is sent yet, and the collector need not be there.
func openTraces(ctx context.Context, cfg Config) (*traces, error) {
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	if p := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "grpc"); p != "grpc" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: spans are sent by grpc only", p)
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("send spans to %s: %w", endpoint, err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName("rollcall"), semconv.ServiceVersion(cfg.Version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this server for its spans: %w", err)
	}
	cfg.Logger.Info("spans are sent", slog.String("endpoint", endpoint))
	t := &traces{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about)), exporter: exporter, logger: cfg.Logger}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(t.failed)) // the whole process's, which would write it to the standard error output
	return t, nil
}

// complainEvery is how often it is logged that spans cannot be sent: it is tried every few seconds.
const complainEvery = time.Minute

// failed is told by OpenTelemetry what went wrong.
func (t *traces) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.complained) > complainEvery {
		t.complained = now
		t.logger.Warn("spans cannot be sent, and are dropped", slog.Any("err", err))
	}
}

// handler are the options that every OpenTelemetry handler of gRPC gets.
func (t *traces) handler() []otelgrpc.Option {
	return []otelgrpc.Option{otelgrpc.WithTracerProvider(t.provider), otelgrpc.WithPropagators(propagation.TraceContext{})}
}

// serverOptions make a span of each call, without those that only ask whether we are well, which say what service and instance they are
// about.
func (t *traces) serverOptions() []grpc.ServerOption {
	if t == nil {
		return nil
	}
	return []grpc.ServerOption{
		grpc.StatsHandler(otelgrpc.NewServerHandler(append(t.handler(), otelgrpc.WithFilter(filters.Not(filters.HealthCheck())))...)),
		grpc.ChainUnaryInterceptor(describeCall), grpc.ChainStreamInterceptor(describeStream),
	}
}

// dialOptions make spans of what is asked of etcd for somebody who has a span. What a registry does by itself, heartbeats and watches, has
// none.
func (t *traces) dialOptions() []grpc.DialOption {
	if t == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(childrenOnly{otelgrpc.NewClientHandler(t.handler()...)})}
}

// registryOptions make spans of what a registry does.
func (t *traces) registryOptions() []rollcall.Option {
	if t == nil {
		return nil
	}
	return []rollcall.Option{tracing.Option(t.provider)}
}

// stop sends what is left, as far as that goes in a while.
func (t *traces) stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), traceFlush)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.logger.Warn("the last spans could not be sent", slog.Any("err", err))
		_ = t.exporter.Shutdown(ctx) // whose time is up: it breaks off what it is sending, which would go on for ten seconds
	}
}
