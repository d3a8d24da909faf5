package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

func listen(t testing.TB) net.Listener {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return lis
}

// local is a prober of a server that is on loopback itself.
func local() (*prober, *hook) {
	h := &hook{}
	d := newDialer(newRules(true, nil, nil), nil)
	h.watch(d)
	return newProber(d), h
}

// probe makes one probe, which may not take much longer than its timeout.
func probe(t *testing.T, addr string, c rollcall.Check) string {
	t.Helper()
	p, _ := local()
	c = c.WithDefaults()
	began := time.Now()
	outcome := p.probe(t.Context(), addr, c)
	if took := time.Since(began); took > c.Timeout+5*time.Second {
		t.Errorf("the probe took %v", took)
	}
	return outcome
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

var (
	overTCP  = rollcall.Check{Type: rollcall.CheckTCP}
	overHTTP = rollcall.Check{Type: rollcall.CheckHTTP}
	overGRPC = rollcall.Check{Type: rollcall.CheckGRPC}
)

func TestAPortThatAcceptsIsWell(t *testing.T) {
	t.Parallel()
	lis := listen(t)
	want(t, "a port that is open", probe(t, lis.Addr().String(), overTCP), outcomeWell)
	lis.Close()
	for _, c := range allChecks() {
		want(t, "a port that is closed", probe(t, lis.Addr().String(), c), outcomeRefused)
	}
}

func TestStatusesOfHTTPFrom200To299AreWell(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var code int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &code); err == nil {
			w.WriteHeader(code)
		}
		fmt.Fprint(w, strings.Repeat("secret ", 10_000))
	}))
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	for path, outcome := range map[string]string{"": outcomeWell, "/200": outcomeWell, "/204?x=y": outcomeWell, "/299": outcomeWell, "/300": "status 300", "/404": "status 404", "/503": "status 503", "//evil.example/200": outcomeWell} {
		want(t, path, probe(t, addr, rollcall.Check{Type: rollcall.CheckHTTP, Path: path}), outcome)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inside.Close()
	for _, to := range []string{inside.URL, "http://169.254.169.254/latest/meta-data/", "//" + inside.Listener.Addr().String(), "/again"} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			srv := httptest.NewServer(http.RedirectHandler(to, code))
			p, h := local()
			outcome := p.probe(t.Context(), srv.Listener.Addr().String(), overHTTP.WithDefaults())
			want(t, to, outcome, fmt.Sprintf("status %d", code))
			if d := h.dialled(); len(d) != 1 || d[0] != srv.Listener.Addr().String() {
				t.Errorf("a redirect to %s: dialled %v", to, d)
			}
			srv.Close()
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("redirects were followed %d times", n)
	}
}

// It sets the environment, so it runs beside no other test; net/http looks at it once, so that a test that came before may have hidden it:
// what is asked here is the transport.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	var reached atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	d := newDialer(newRules(true, nil, nil), nil)
	for _, http2 := range []bool{false, true} {
		if newTransport(d, http2).Proxy != nil {
			t.Error("the transport knows a proxy")
		}
	}
	for _, c := range allChecks() {
		// Proxies are never used for loopback, so it is another address, where nobody is.
		c.Timeout = 50 * time.Millisecond
		if outcome := newProber(d).probe(t.Context(), "192.0.2.1:80", c); outcome == outcomeWell {
			t.Errorf("%s: an address where nobody is: %q", c.Type, outcome)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("the proxy was used %d times", n)
	}
}

func TestAProbeSaysNothingThatCouldBeUsed(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Clone(context.Background())
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	}))
	defer srv.Close()
	p, _ := local()
	for range 2 { // the second time there would be a cookie
		p.probe(t.Context(), srv.Listener.Addr().String(), overHTTP.WithDefaults())
		r := <-seen
		for _, name := range []string{"Cookie", "Authorization", "Referer", "X-Forwarded-For", "Metadata-Flavor", "Metadata", "X-Aws-Ec2-Metadata-Token"} {
			if v := r.Header.Get(name); v != "" {
				t.Errorf("%s: %s", name, v)
			}
		}
		if r.Method != http.MethodGet || r.UserAgent() != userAgent || r.ContentLength != 0 {
			t.Errorf("it is a %s by %s with %d bytes", r.Method, r.UserAgent(), r.ContentLength)
		}
	}
}

// peers are what may be found behind a port that is said to be something else: each takes a connection, and must not cost more than the
// timeout, nor get a word of its own into the outcome.
var peers = map[string]func(net.Conn){
	"says nothing":          func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	"closes at once":        func(net.Conn) {},
	"closes when asked":     func(c net.Conn) { _, _ = bufio.NewReader(c).ReadByte() },
	"speaks of itself":      func(c net.Conn) { fmt.Fprint(c, "SSH-2.0-OpenSSH_9.9 secret\r\n"); _, _ = io.Copy(io.Discard, c) },
	"never ends its header": func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n"); flood(c, "X-Secret: secret\r\n") },
	"has a long first line": func(c net.Conn) { flood(c, "HTTP/1.1 200 secret") },
	"sends frames for ever": func(c net.Conn) {
		fmt.Fprint(c, "\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		flood(c, "\x00\x00\x08\x06\x00\x00\x00\x00\x00secretse")
	},
	"sends a huge frame": func(c net.Conn) { fmt.Fprint(c, "\xff\xff\xff\x00\x00\x00\x00\x00\x01"); flood(c, "secret") },
	"speaks HTTP/1": func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 400 secret\r\nContent-Length: 6\r\n\r\nsecret")
		_, _ = io.Copy(io.Discard, c)
	},
}

func flood(c net.Conn, text string) {
	text = strings.Repeat(text, 1000)
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

func TestWhateverIsBehindAPortCostsTheTimeoutAtMostAndSaysNothing(t *testing.T) {
	t.Parallel()
	words := []string{outcomeTimeout, outcomeClosed, outcomeReset, outcomeNotHTTP, outcomeNotGRPC, outcomeTLS, "status 400"}
	for name, behave := range peers {
		lis := listen(t)
		go func() {
			for {
				conn, err := lis.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					behave(conn)
				}()
			}
		}()
		for _, c := range allChecks()[1:] {
			t.Run(fmt.Sprintf("%s, %s, TLS %t", name, c.Type, c.TLS), func(t *testing.T) {
				t.Parallel()
				c.Timeout = 200 * time.Millisecond
				outcome := probe(t, lis.Addr().String(), c)
				for _, word := range words {
					if outcome == word {
						return
					}
				}
				t.Errorf("the outcome is %q, none of %q", outcome, words)
			})
		}
	}
}

// An endless body is not what the status is about.
func TestABodyWithoutAnEndDoesNotMatter(t *testing.T) {
	t.Parallel()
	written := make(chan int, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		total := 0
		for {
			n, err := io.WriteString(w, strings.Repeat("x", 64<<10))
			total += n
			if err != nil {
				break
			}
		}
		written <- total
	}))
	defer srv.Close()
	want(t, "a server that never stops", probe(t, srv.Listener.Addr().String(), overHTTP), outcomeWell)
	<-written // it was cut off
}

// healthServer is a gRPC server whose health the test sets.
func healthServer(t testing.TB, opts ...grpc.ServerOption) (string, *health.Server) {
	t.Helper()
	lis, srv, own := listen(t), grpc.NewServer(opts...), health.NewServer()
	healthpb.RegisterHealthServer(srv, own)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(lis)
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-ended
	})
	return lis.Addr().String(), own
}

func TestTheHealthOfAGRPCServerIsAsked(t *testing.T) {
	t.Parallel()
	addr, own := healthServer(t)
	of := rollcall.Check{Type: rollcall.CheckGRPC, Service: "orders"}
	want(t, "the server as a whole", probe(t, addr, overGRPC), outcomeWell)
	want(t, "a service that it does not know", probe(t, addr, of), outcomeNoService)
	own.SetServingStatus("orders", healthpb.HealthCheckResponse_NOT_SERVING)
	want(t, "a service that does not serve", probe(t, addr, of), "NOT_SERVING")
	own.SetServingStatus("orders", healthpb.HealthCheckResponse_UNKNOWN)
	want(t, "a service of unknown health", probe(t, addr, of), "UNKNOWN")
	own.SetServingStatus("orders", healthpb.HealthCheckResponse_SERVING)
	want(t, "a service that serves", probe(t, addr, of), outcomeWell)
	own.Shutdown()
	want(t, "a server that is about to stop", probe(t, addr, overGRPC), "NOT_SERVING")
}

func TestAGRPCServerThatRefusesSaysWhyInOneWord(t *testing.T) {
	t.Parallel()
	for code, outcome := range map[codes.Code]string{
		codes.Unimplemented: outcomeNoHealth, codes.PermissionDenied: "gRPC status PermissionDenied", codes.Unavailable: "gRPC status Unavailable", codes.DeadlineExceeded: outcomeTimeout, 99: outcomeNotGRPC,
	} {
		addr, _ := healthServer(t, grpc.UnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return nil, status.Error(code, "secret")
		}))
		want(t, code.String(), probe(t, addr, overGRPC), outcome)
	}
	slow, _ := healthServer(t, grpc.UnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		<-ctx.Done() // it is told how long it has
		return nil, ctx.Err()
	}))
	want(t, "a slow one", probe(t, slow, rollcall.Check{Type: rollcall.CheckGRPC, Timeout: 100 * time.Millisecond}), outcomeTimeout)
}

func TestTLSIsSpokenToWhoeverAnswers(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	overTLS := rollcall.Check{Type: rollcall.CheckHTTP, TLS: true}
	want(t, "a certificate that nobody knows", probe(t, srv.Listener.Addr().String(), overTLS), outcomeWell)

	certificate := srv.TLS.Certificates[0]
	addr, _ := healthServer(t, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})))
	want(t, "gRPC over TLS", probe(t, addr, rollcall.Check{Type: rollcall.CheckGRPC, TLS: true}), outcomeWell)
	plain := httptest.NewServer(srv.Config.Handler)
	defer plain.Close()
	want(t, "a server that does not speak it", probe(t, plain.Listener.Addr().String(), overTLS), outcomeTLS)
}

// Connections that were kept would be held by thousands, on both sides.
func TestAProbeLeavesNoConnectionBehind(t *testing.T) {
	t.Parallel()
	var open, made atomic.Int64
	addr, _ := healthServer(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Start()
	defer srv.Close()
	p, _ := local()
	for _, transport := range []*http.Client{p.plain, p.grpc} {
		own := transport.Transport.(*http.Transport)
		own.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			conn, err := p.dialer.dialFor(ctx, "tcp", addr)
			if err == nil {
				open.Add(1)
				made.Add(1)
				conn = &counted{Conn: conn, open: &open}
			}
			return conn, err
		}
	}
	for range 20 {
		want(t, "gRPC", p.probe(t.Context(), addr, overGRPC.WithDefaults()), outcomeWell)
		want(t, "HTTP", p.probe(t.Context(), srv.Listener.Addr().String(), overHTTP.WithDefaults()), outcomeWell)
	}
	deadline := time.Now().Add(10 * time.Second)
	for open.Load() > 0 && time.Now().Before(deadline) {
		<-time.After(time.Millisecond)
	}
	if n := open.Load(); n > 0 {
		t.Errorf("%d connections of 40 are still open", n)
	}
	if n := made.Load(); n != 40 {
		t.Errorf("40 probes made %d connections, want one each", n)
	}
}

type counted struct {
	net.Conn
	open *atomic.Int64
	once atomic.Bool
}

func (c *counted) Close() error {
	if !c.once.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

func TestAProcessWithoutSocketsSaysNothingOfOthers(t *testing.T) {
	for _, err := range exhausted {
		if outcome := outcomeOf(&net.OpError{Op: "dial", Err: err}, outcomeNoConn); outcome != outcomeVoid {
			t.Errorf("%v: %q, want %q", err, outcome, outcomeVoid)
		}
	}
}

// What was dialled ends with the probe, not when the other side pleases: a connection that is accepted and then not answered, and one that
// is not even accepted.
func TestAProbeThatTimesOutLeavesNothingWaiting(t *testing.T) {
	t.Parallel()
	lis := listen(t)
	ended := make(chan time.Time, 16)
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
				ended <- time.Now()
			}()
		}
	}()
	for _, c := range allChecks()[1:] {
		c.Timeout = 100 * time.Millisecond
		want(t, string(c.Type), probe(t, lis.Addr().String(), c), outcomeTimeout)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s, TLS %t: the connection is still open", c.Type, c.TLS)
		}
	}
}
