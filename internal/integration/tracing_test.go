package integration

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/server"
)

// collector is where spans are sent to.
type collector struct {
	coltracepb.UnimplementedTraceServiceServer
	addr string
	hang bool // it takes spans, and never says so

	mu    sync.Mutex
	spans []*tracepb.Span
	names map[string]bool // of the services that sent them
	asked int
}

func startCollector(t *testing.T, hang bool) *collector {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{addr: lis.Addr().String(), hang: hang, names: map[string]bool{}}
	s := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(s, c)
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(lis) }()
	t.Cleanup(func() { s.Stop(); <-served })
	return c
}

// Export implements [coltracepb.TraceServiceServer].
func (c *collector) Export(ctx context.Context, r *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	c.asked++
	for _, of := range r.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				c.names[a.GetValue().GetStringValue()] = true
			}
		}
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	c.mu.Unlock()
	if c.hang {
		<-ctx.Done()
	}
	return &coltracepb.ExportTraceServiceResponse{}, ctx.Err()
}

// find returns the span of a name below a parent; any parent will do for nil.
func (c *collector) find(t *testing.T, name string, below *tracepb.Span) *tracepb.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, s := range c.spans {
		if s.GetName() == name && (below == nil || slices.Equal(s.GetParentSpanId(), below.GetSpanId())) {
			return s
		}
		names = append(names, s.GetName())
	}
	t.Fatalf("there is no span %q below %q, among %q", name, below.GetName(), names)
	return nil
}

func attributesOf(s *tracepb.Span) map[string]string {
	attrs := map[string]string{}
	for _, a := range s.GetAttributes() {
		if strings.HasPrefix(a.GetKey(), "rollcall.") {
			attrs[a.GetKey()] = a.GetValue().GetStringValue()
		}
	}
	return attrs
}

// runTraced runs a server whose spans go to a collector, has somebody use it, and stops it. It returns how long the stop took.
func runTraced(t *testing.T, c *collector, use func(ctx context.Context, conn *grpc.ClientConn)) time.Duration {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+c.addr)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "60000") // what comes in time comes by the stop
	cfg := server.Config{Etcd: []string{etcdtest.Start(t).Endpoint()}, Prefix: rollcall.DefaultPrefix, GRPCListen: "127.0.0.1:0", StopTimeout: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(chan server.Info, 1), make(chan error, 1)
	go func() { ended <- server.Run(ctx, cfg, func(i server.Info) { ready <- i }) }()
	select {
	case info := <-ready:
		conn, err := grpc.NewClient(info.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		use(within(t, apiPatience), conn)
	case err := <-ended:
		t.Fatalf("the server did not start: %v", err)
	}
	began := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("the server ends with %v", err)
	}
	return time.Since(began)
}

func TestCallsOfTheAPIAreSpansDownToEtcd(t *testing.T) {
	const trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	c := startCollector(t, false)
	runTraced(t, c, func(ctx context.Context, conn *grpc.ClientConn) {
		ctx = withMetadata(ctx, "traceparent", "00-"+trace+"-"+caller+"-01")
		_, err := rollcallv1.NewRegistrationServiceClient(conn).Register(ctx, &rollcallv1.RegisterRequest{Service: "orders", Instance: &rollcallv1.Instance{Addr: "10.0.0.1:1"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = rollcallv1.NewControlServiceClient(conn).SetOverride(ctx, &rollcallv1.SetOverrideRequest{Service: "orders", Id: "10.0.0.1:1", Override: &rollcallv1.Override{Drain: true}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	})
	about := map[string]string{"rollcall.service": "orders", "rollcall.instance": "10.0.0.1:1"}
	call := c.find(t, "rollcall.v1.RegistrationService/Register", nil)
	if got := hex.EncodeToString(call.GetTraceId()) + hex.EncodeToString(call.GetParentSpanId()); got != trace+caller {
		t.Errorf("the call's span is %s, want it below the caller's", got)
	}
	mustEqual(t, "attributes", attributesOf(call), about)
	mustEqual(t, "attributes", attributesOf(c.find(t, "rollcall register", call)), about)
	asked := c.find(t, "rollcall.v1.ControlService/SetOverride", nil)
	mustEqual(t, "attributes", attributesOf(asked), about)
	if s := c.find(t, "etcdserverpb.KV/Txn", asked); s.GetKind() != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("what etcd was asked is %v", s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if strings.HasPrefix(s.GetName(), "grpc.health") || strings.HasPrefix(s.GetName(), "etcdserverpb") && len(s.GetParentSpanId()) == 0 {
			t.Errorf("%s is a span", s.GetName())
		}
	}
	mustEqual(t, "services", c.names, map[string]bool{"rollcall": true})
}

func TestACollectorThatHangsHoldsNoServerUpForLong(t *testing.T) {
	c := startCollector(t, true)
	took := runTraced(t, c, func(ctx context.Context, conn *grpc.ClientConn) {
		if _, err := rollcallv1.NewDiscoveryServiceClient(conn).GetService(ctx, &rollcallv1.GetServiceRequest{Service: "orders"}); err != nil {
			t.Fatal(err)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == 0 {
		t.Error("nothing was sent to the collector")
	}
	if took > 8*time.Second {
		t.Errorf("the server took %v to stop", took)
	}
}

func TestASpanProtocolThatIsNotSpokenIsRefused(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	cfg := server.Config{Etcd: []string{etcdtest.Start(t).Endpoint()}, Prefix: rollcall.DefaultPrefix, GRPCListen: "127.0.0.1:0"}
	err := server.Run(within(t, apiPatience), cfg, func(server.Info) { t.Error("the server starts") })
	if err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("the server ends with %v", err)
	}
}
