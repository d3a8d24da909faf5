package check

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-io/rollcall"
)

// BenchmarkProbe is what one probe costs, the server's side in the same process included, and for gRPC what the other ways would cost: a
// connection that is kept, and a channel of grpc-go for each probe.
func BenchmarkProbe(b *testing.B) {
	addr, _ := healthServer(b)
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Cleanup(web.Close)
	bench := func(name, addr string, c rollcall.Check, p *prober) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if outcome := p.probe(b.Context(), addr, c.WithDefaults()); outcome != outcomeWell {
					b.Fatal(outcome)
				}
			}
		})
	}
	p, _ := local()
	bench("tcp", addr, overTCP, p)
	bench("http", web.Listener.Addr().String(), overHTTP, p)
	bench("grpc", addr, overGRPC, p)
	kept, _ := local()
	transport := kept.grpc.Transport.(*http.Transport)
	transport.DisableKeepAlives = false
	transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return kept.dialer.dial(ctx, addr) } // without the probe's end
	bench("grpc-kept", addr, overGRPC, kept)
	transport.CloseIdleConnections()
	b.Run("grpc-channel", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			probeByChannel(b, addr)
		}
	})
}

func probeByChannel(b *testing.B, addr string) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Second)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		b.Fatal(err)
	}
}
