package tracing_test

import (
	"context"
	"log"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
	"github.com/rollcall-io/rollcall/tracing"
)

func ExampleOption() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"), tracing.Option(otel.GetTracerProvider()))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close(context.Background())
}

// span is what a test looks at.
type span struct {
	Name   string
	Attrs  map[string]string
	Failed bool
}

// spans returns what was exported so far, and forgets it.
func spans(e *tracetest.InMemoryExporter) []span {
	var told []span
	for _, s := range e.GetSpans() {
		attrs := map[string]string{}
		for _, a := range s.Attributes {
			attrs[string(a.Key)] = a.Value.AsString()
		}
		told = append(told, span{s.Name, attrs, s.Status.Code == codes.Error})
	}
	e.Reset()
	return told
}

// simulate runs a test with a registry that is traced, on an etcd in simulated time.
func simulate(t *testing.T, test func(*testing.T, *simetcd.Cluster, *rollcall.Registry, *tracetest.InMemoryExporter, *sdktrace.TracerProvider)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		etcd := simetcd.New(simetcd.Options{})
		t.Cleanup(etcd.Stop)
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		reg, err := rollcall.Open(etcd.Config(), tracing.Option(provider))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = reg.Close(context.Background()) })
		test(t, etcd, reg, exporter, provider)
	})
}

func TestWhatARegistryIsAskedForIsASpan(t *testing.T) {
	simulate(t, func(t *testing.T, _ *simetcd.Cluster, reg *rollcall.Registry, e *tracetest.InMemoryExporter, _ *sdktrace.TracerProvider) {
		const token = "0123456789abcdef"
		ctx := t.Context()
		g, err := reg.Register(ctx, "orders", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithToken(token))
		must(t, err)
		must(t, g.Update(ctx, func(i *rollcall.Instance) { i.Weight = 7 }))
		must(t, g.Drain(ctx))
		_, err = reg.Lookup(ctx, "orders")
		must(t, err)
		g, err = reg.Resume(ctx, "orders", "10.0.0.1:1", token)
		must(t, err)
		must(t, g.Deregister(ctx))
		other, err := reg.Register(ctx, "orders", rollcall.Instance{ID: "b", Addr: "10.0.0.2:1"})
		must(t, err)
		must(t, other.Expire(ctx))

		of := func(name, id string) span {
			s := span{"rollcall " + name, map[string]string{"rollcall.service": "orders"}, false}
			if id != "" {
				s.Attrs["rollcall.instance"] = id
			}
			return s
		}
		const a = "10.0.0.1:1"
		if diff := cmp.Diff([]span{
			of("register", a), of("update", a), of("drain", a), of("lookup", ""), of("resume", a), of("deregister", a), of("register", "b"), of("expire", "b"),
		}, spans(e)); diff != "" {
			t.Errorf("spans (-want +got):\n%s", diff)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestASpanIsAChildAndSaysHowItEnded(t *testing.T) {
	simulate(t, func(t *testing.T, etcd *simetcd.Cluster, reg *rollcall.Registry, e *tracetest.InMemoryExporter, p *sdktrace.TracerProvider) {
		etcd.Member(0).Kill()
		ctx, parent := p.Tracer("test").Start(t.Context(), "a request")
		bounded, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if _, err := reg.Register(bounded, "orders", rollcall.Instance{Addr: "10.0.0.1:1"}); err == nil {
			t.Error("registered without an etcd")
		}
		got := e.GetSpans()
		if len(got) != 1 || got[0].Parent.SpanID() != parent.SpanContext().SpanID() || got[0].Status.Code != codes.Error || got[0].Status.Description == "" {
			t.Fatalf("spans: %+v", got)
		}
		if took := got[0].EndTime.Sub(got[0].StartTime); took != 3*time.Second {
			t.Errorf("the span is %v long, want as long as the call", took)
		}
		parent.End()
	})
}

func TestNoProviderMakesNoSpans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		etcd := simetcd.New(simetcd.Options{})
		defer etcd.Stop()
		reg, err := rollcall.Open(etcd.Config(), tracing.Option(nil), rollcall.WithTrace(nil))
		must(t, err)
		defer func() { _ = reg.Close(context.Background()) }()
		_, err = reg.Lookup(t.Context(), "orders")
		must(t, err)
	})
}

func TestARegistrationThatWasPutBackIsASpanAsLongAsItWasMissing(t *testing.T) {
	simulate(t, func(t *testing.T, etcd *simetcd.Cluster, reg *rollcall.Registry, e *tracetest.InMemoryExporter, _ *sdktrace.TracerProvider) {
		_, err := reg.Register(t.Context(), "orders", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
		must(t, err)
		e.Reset()
		etcd.NoSpace(true)
		if !etcd.DeleteKey("rollcall/services/orders/10.0.0.1:1") {
			t.Fatal("the key is not there")
		}
		time.Sleep(10 * time.Second)
		etcd.NoSpace(false)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		for _, s := range e.GetSpans() {
			if missing := s.EndTime.Sub(s.StartTime); missing < 9*time.Second || missing > 25*time.Second {
				t.Errorf("%s is %v long, for a key that was missing for ten seconds and a little", s.Name, missing)
			}
		}
		if diff := cmp.Diff([]span{{"rollcall heal", map[string]string{"rollcall.service": "orders", "rollcall.instance": "10.0.0.1:1"}, false}}, spans(e)); diff != "" {
			t.Errorf("spans (-want +got):\n%s", diff)
		}
	})
}
