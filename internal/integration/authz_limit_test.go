package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const limitRules = `
trustDomain: td
rules:
- {identities: ["token:many"], verbs: [read, register], services: ["*"], limits: {registrations: 5, streams: 9}}
- {identities: ["token:few", "spiffe://td/short"], verbs: [read, register], services: ["*"]}
- {identities: ["token:fast"], verbs: [read, register], services: ["*"], limits: {requests: 100000, registrations: 100}}
limits: {registrations: 3, streams: 2, requests: 20, connections: 40}
`

// CVE-2020-7219 and its like: security.md's S14.
func TestNobodyHasMoreRegistrationsThanHeMay(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, limitRules, "many", "few", "fast")
	api := rollcallv1.NewRegistrationServiceClient(g.dial(g.as()))
	for name, most := range map[string]int{"many": 5, "few": 3} {
		var last *rollcallv1.RegisterResponse
		for n := range most {
			resp, err := registerAs(t, api, as(name), name, fmt.Sprintf("127.0.0.1:%d", 5000+n), "")
			if err != nil {
				t.Fatalf("%s, number %d: %v", name, n, err)
			}
			last = resp
		}
		_, err := registerAs(t, api, as(name), name, "127.0.0.1:5999", "")
		wantRefusal(t, name+": one too many", err, codes.ResourceExhausted, "limit of registrations", fmt.Sprint(most))
		if _, err := registerAs(t, api, as(name), name, "127.0.0.1:5000", ""); err != nil {
			t.Errorf("%s: one that is there again: %v", name, err)
		}
		if _, err := api.Deregister(bearing(t, as(name)), &rollcallv1.DeregisterRequest{Service: name, Id: last.GetInstance().GetId(), Token: last.GetToken()}); err != nil {
			t.Fatal(err)
		}
		if _, err := registerAs(t, api, as(name), name, "127.0.0.1:5999", ""); err != nil {
			t.Errorf("%s: one in place of another: %v", name, err)
		}
	}
	// What is refused for another reason takes no place.
	for range 5 {
		_, err := registerAs(t, api, as("fast"), "-", "127.0.0.1:1", "")
		wantRefusal(t, "a bad name", err, codes.InvalidArgument)
	}
	if _, err := registerAs(t, api, as("fast"), "fast", "127.0.0.1:1", ""); err != nil {
		t.Errorf("after five that were refused: %v", err)
	}
}

func TestASessionHasNoMoreRegistrationsThanACall(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, limitRules, "few")
	api := rollcallv1.NewRegistrationServiceClient(g.dial(g.as()))
	begin := func() (ask func(port int) *rollcallv1.SessionResponse, end func()) {
		ctx, cancel := context.WithCancel(bearing(t, as("few")))
		session, err := api.Session(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return func(port int) *rollcallv1.SessionResponse {
			t.Helper()
			err := session.Send(&rollcallv1.SessionRequest{Call: int64(port), Ask: &rollcallv1.SessionRequest_Register{Register: &rollcallv1.RegisterRequest{
				Service: "few", Instance: &rollcallv1.Instance{Addr: fmt.Sprintf("127.0.0.1:%d", port)}, Ttl: durationpb.New(5 * time.Second),
			}}})
			if err != nil {
				t.Fatal(err)
			}
			resp, err := session.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}, cancel
	}
	ask, end := begin()
	for port := range 3 {
		if resp := ask(6001 + port); resp.GetRegistered() == nil {
			t.Fatalf("number %d: %v", port, resp)
		}
	}
	if resp := ask(6009); resp.GetFailed().GetCode() != int32(codes.ResourceExhausted) {
		t.Errorf("one too many: %v", resp)
	}
	end()
	// They outlive the session by their TTL, and as long they count.
	ask, end = begin()
	defer end()
	if resp := ask(6009); resp.GetFailed().GetCode() != int32(codes.ResourceExhausted) {
		t.Errorf("one too many, of the next session: %v", resp)
	}
	// Each question is a request, and they are limited, too.
	eventuallyEvery(t, 200*time.Millisecond, apiPatience, "there is a place again", func() bool { return ask(6009).GetRegistered() != nil })
}

func TestNobodyHasMoreStreamsThanHeMay(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, limitRules, "many", "few")
	discovery := rollcallv1.NewDiscoveryServiceClient(g.dial(g.as()))
	watch := func(name string) (cancel context.CancelFunc, err error) {
		ctx, cancel := context.WithCancel(bearing(t, as(name)))
		stream, err := discovery.Watch(ctx, &rollcallv1.WatchRequest{Service: "shop"})
		if err == nil {
			_, err = stream.Recv()
		}
		return cancel, err
	}
	cancel, err := watch("few")
	if err == nil {
		_, err = watch("few")
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = watch("few")
	wantRefusal(t, "one too many", err, codes.ResourceExhausted, "limit of streams: token:few may have 2")
	if code, text := g.ask(g.as(), "GET", "/v1/services/shop/watch", "", "Authorization: "+as("few")); code != 429 {
		t.Errorf("one too many by HTTP: %d %s", code, text)
	}
	if _, err := watch("many"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	cancel()
	eventuallyEvery(t, 100*time.Millisecond, apiPatience, "there is a place again", func() bool { _, err := watch("few"); return err == nil })
}

func TestNobodyMakesMoreRequestsThanHeMay(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, limitRules, "few", "fast")
	discovery := rollcallv1.NewDiscoveryServiceClient(g.dial(g.as()))
	flood := func(authorization string, code codes.Code) (met bool) {
		for range 400 {
			_, err := discovery.GetService(bearing(t, authorization), &rollcallv1.GetServiceRequest{Service: "shop"})
			if status.Code(err) == code && (code != codes.ResourceExhausted || strings.Contains(err.Error(), "limit of requests")) {
				return true
			}
		}
		return false
	}
	if !flood(as("few"), codes.ResourceExhausted) {
		t.Error("somebody makes 400 requests at once, and may make 20 in a second")
	}
	if flood(as("fast"), codes.ResourceExhausted) {
		t.Error("somebody else is kept from it, too")
	}
	if !flood("Bearer "+tokenOf("guess"), codes.ResourceExhausted) {
		t.Error("somebody may guess tokens as fast as he can")
	}
	if code, _ := g.ask(g.as(), "GET", "/livez", ""); code != 200 {
		t.Errorf("/livez: %d", code)
	}
	// What is one request of HTTP is one, whatever it takes: one for http_sd asks for each service.
	api := rollcallv1.NewRegistrationServiceClient(g.dial(g.as()))
	for n := range 60 {
		if _, err := registerAs(t, api, as("fast"), fmt.Sprintf("s-%d", n), "127.0.0.1:1", ""); err != nil {
			t.Fatal(err)
		}
	}
	eventuallyEvery(t, 100*time.Millisecond, apiPatience, "http_sd tells of all", func() bool {
		code, text := g.ask(g.as(), "GET", "/v1/prometheus/http_sd", "", "Authorization: "+as("few"))
		return code == 200 && strings.Count(text, "__meta_rollcall_service") == 60
	})
	if !g.floodHTTP(as("few"), 400) {
		t.Error("somebody makes 400 requests by HTTP at once, and may make 20 in a second")
	}
	if _, err := discovery.GetService(bearing(t, as("fast")), &rollcallv1.GetServiceRequest{Service: "shop"}); err != nil {
		t.Errorf("from the same address, but known: %v", err)
	}
}

// floodHTTP makes so many requests by HTTP on a few connections that stay, and reports whether one was too many.
func (g *authzServer) floodHTTP(authorization string, most int) bool {
	g.t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: g.as(), MaxConnsPerHost: 4, MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	var left, limited atomic.Int64
	left.Store(int64(most))
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for limited.Load() == 0 && left.Add(-1) >= 0 {
				r, err := http.NewRequestWithContext(within(g.t, apiPatience), http.MethodGet, g.http+"/v1/services", nil)
				if err != nil {
					return
				}
				r.Header.Set("Authorization", authorization)
				resp, err := client.Do(r)
				if err != nil {
					continue
				}
				text, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusTooManyRequests && strings.Contains(string(text), "limit of requests") {
					limited.Add(1)
				}
			}
		})
	}
	callers.Wait()
	return limited.Load() > 0
}

// GHSA-6vch-q96h-7gc3 and CVE-2020-7219: a handshake that stalls is ended, and there are only so many.
func TestConnectionsThatSayNothingAreEndedAndCounted(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, limitRules, "few")
	for _, addr := range []string{g.grpc, strings.TrimPrefix(g.http, "https://")} {
		var open []net.Conn
		for range 60 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			open = append(open, conn)
		}
		began, kept := time.Now(), 0
		for _, conn := range open {
			_ = conn.SetReadDeadline(began.Add(apiPatience))
			_, err := conn.Read(make([]byte, 1))
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				t.Fatalf("%s: a connection that says nothing is open after %v", addr, apiPatience)
			}
			if time.Since(began) > time.Second {
				kept++
			}
		}
		if kept == 0 {
			t.Errorf("%s: no connection was given time for its handshake", addr)
		}
	}
	if !strings.Contains(g.journal.String(), "too many connections from one address") {
		t.Error("60 connections from one address, where 40 may be, are not in the log")
	}
	if code, _ := g.ask(g.as(), "GET", "/livez", ""); code != 200 {
		t.Errorf("afterwards: %d", code)
	}
}

func TestACertificateThatExpiresEndsItsStreams(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, limitRules, "few")
	short := g.ca.issue(&x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "td", Path: "/short"}}, NotAfter: time.Now().Add(4 * time.Second)})
	discovery := rollcallv1.NewDiscoveryServiceClient(g.dial(g.as(short)))
	stream, err := discovery.Watch(bearing(t, ""), &rollcallv1.WatchRequest{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantRefusal(t, "the stream", err, codes.Unauthenticated, "no longer good")
	_, err = discovery.GetService(bearing(t, ""), &rollcallv1.GetServiceRequest{Service: "shop"})
	wantRefusal(t, "a call on the same connection", err, codes.Unauthenticated, "expired")
}

// raw is a client of HTTP/2 that sends what it likes.
type raw struct {
	t    *testing.T
	conn *tls.Conn
	id   uint32
}

func (g *authzServer) raw() *raw {
	g.t.Helper()
	cfg := g.as()
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", g.grpc, cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(apiPatience))
	r := &raw{t: g.t, conn: conn, id: 1}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		g.t.Fatal(err)
	}
	r.frame(4, 0, 0, nil)
	return r
}

func (r *raw) frame(kind, flags byte, stream uint32, payload []byte) {
	r.t.Helper()
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[5:], stream)
	if _, err := r.conn.Write(append(head, payload...)); err != nil && !errors.Is(err, net.ErrClosed) {
		r.t.Logf("write: %v", err)
	}
}

// call makes a call, and returns everything that is answered to it, undecoded, and whether the server broke it off.
func (r *raw) call(path string, headers ...string) (answer []byte, reset bool) {
	r.t.Helper()
	block := hpack(append([]string{":method", "POST", ":scheme", "https", ":path", path, ":authority", "x", "content-type", "application/grpc", "te", "trailers"}, headers...)...)
	id := r.id
	r.id += 2
	r.frame(1, 4, id, block)
	r.frame(0, 1, id, []byte{0, 0, 0, 0, 0})
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(r.conn, head); err != nil {
			return answer, true
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(r.conn, payload); err != nil {
			return answer, true
		}
		if binary.BigEndian.Uint32(head[5:]) != id {
			continue
		}
		answer = append(answer, payload...)
		if head[3] == 3 || head[4]&1 == 1 { // RST_STREAM, or END_STREAM
			return answer, head[3] == 3
		}
	}
}

// literal is a string as HPACK has it without tables and codes.
func literal(s string) []byte {
	if len(s) < 127 {
		return append([]byte{byte(len(s))}, s...)
	}
	return append([]byte{127, byte(len(s)-127)&127 | 128, byte((len(s) - 127) >> 7)}, s...)
}

// hpack writes headers, names and values in turn.
func hpack(headers ...string) []byte {
	var block []byte
	for n, h := range headers {
		if n%2 == 0 {
			block = append(block, 0) // a literal that no table is to keep
		}
		block = append(block, literal(h)...)
	}
	return block
}

// CVE-2026-33186: a path without its slash reached the handler, and no rule.
func TestAMalformedPathReachesNobody(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, strings.Replace(limitRules, "requests: 20", "requests: 1000", 1), "few")
	const good = rollcallv1.DiscoveryService_ListServices_FullMethodName
	bearer := []string{"authorization", as("few")}
	if answer, reset := g.raw().call(good, bearer...); reset || !served(answer) {
		t.Fatalf("this client cannot even make a good call: %q", answer)
	}
	for _, path := range []string{
		strings.TrimPrefix(good, "/"), "//" + good[1:], "/" + good, good + "/", good + "?x", good + "#", good + "%00", good + "\x00", "", "/", "//", "*", strings.ToUpper(good), strings.ToLower(good),
		strings.Replace(good, "/ListServices", "//ListServices", 1), strings.Replace(good, "L", "%4c", 1), "https://x" + good, "/grpc.health.v1.Health/../" + good[1:], "/./" + good[1:],
		"grpc.health.v1.Health/Check" + good,
	} {
		for _, headers := range [][]string{nil, bearer} {
			client := g.raw()
			if answer, _ := client.call(path, headers...); served(answer) {
				t.Errorf("%q is served: %q", path, answer)
			}
			_ = client.conn.Close()
		}
	}
}

// served reports whether there is a message in an answer, and not only headers.
func served(answer []byte) bool { return strings.Contains(string(answer), "\x00\x00\x00\x00") }

// A flood of streams that are given up at once takes nothing from the others (GHSA-hrxh-6v49-42gf).
func TestAFloodOfResetsLeavesTheServerWell(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, limitRules, "fast")
	r := g.raw()
	for range 5000 {
		r.frame(1, 4, r.id, hpack(":method", "POST", ":scheme", "https", ":path", rollcallv1.DiscoveryService_Watch_FullMethodName, ":authority", "x", "content-type", "application/grpc", "te", "trailers"))
		r.frame(3, 0, r.id, []byte{0, 0, 0, 8})
		r.id += 2
	}
	_ = r.conn.Close()
	discovery := rollcallv1.NewDiscoveryServiceClient(g.dial(g.as()))
	if _, err := discovery.GetService(bearing(t, as("fast")), &rollcallv1.GetServiceRequest{Service: "shop"}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := len(g.journal.audits(t)); n > 60 {
		t.Errorf("5,000 streams of nobody are %d records", n)
	}
}
