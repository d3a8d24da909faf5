package httpapi

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const anInstance = `{"instance":{"addr":"10.0.0.1:80"}}`

func TestNothingOfARequestsHeadersGoesOnButTheCredentials(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	got := ask(t, "GET", at+"/v1/services/shop", "", "Authorization: Bearer abc", "Grpc-Metadata-Authorization: Bearer evil",
		"Grpc-Metadata-X-Identity: admin", "Grpc-Metadata-Internal-Bin: eA==", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost",
		"X-Identity: admin", "Cookie: session=1", "User-Agent: Nacos-Server", "Grpc-Timeout: 1n", "Forwarded: for=127.0.0.1", "Te: trailers",
		"Accept: text/html", "Referer: http://localhost/", "Via: 1.1 x", `If-None-Match: W/"7"`)
	if got.code != http.StatusOK {
		t.Fatal(got.body)
	}
	md := s.last(t).metadata
	for _, transport := range []string{":authority", "content-type", "user-agent", "grpc-accept-encoding"} {
		if strings.Contains(strings.Join(md[transport], ""), "Nacos") {
			t.Errorf("%s: %v", transport, md[transport])
		}
		delete(md, transport)
	}
	if diff := cmp.Diff(metadata.Pairs("authorization", "Bearer abc", "if-none-match", "*"), md); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestEventStreamsCarryTheCredentialsToo(t *testing.T) {
	t.Parallel()
	seen := make(chan metadata.MD, 1)
	s := &script{watch: func(_ *rollcallv1.WatchRequest, _ func(*rollcallv1.WatchResponse) error, ctx context.Context) error {
		md, _ := metadata.FromIncomingContext(ctx)
		seen <- md
		return nil
	}}
	_, at := serve(t, s)
	ask(t, "GET", at+"/v1/services/shop/watch", "", "Authorization: Bearer abc", "Grpc-Metadata-X: y")
	md := <-seen
	if !slices.Equal(md["authorization"], []string{"Bearer abc"}) || md["x"] != nil || md["grpcgateway-x"] != nil {
		t.Errorf("metadata: %v", md)
	}
}

func TestWhatTheServerKnowsOfACallerWinsOverWhatHeSays(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s, func(c *Config) {
		c.Metadata = func(*http.Request) metadata.MD {
			return metadata.Pairs("authorization", "certificate", "peer", "10.0.0.9")
		}
	})
	ask(t, "GET", at+"/v1/services/shop", "", "Authorization: Bearer abc", "Grpc-Metadata-Peer: 127.0.0.1")
	if md := s.last(t).metadata; !slices.Equal(md["authorization"], []string{"certificate"}) || !slices.Equal(md["peer"], []string{"10.0.0.9"}) {
		t.Errorf("metadata: %v", md)
	}
}

func TestCredentialsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	for _, headers := range [][]string{{"Authorization: Bearer a", "Authorization: Bearer b"}, {"Authorization: Bearer ü"}} {
		if got := ask(t, "GET", at+"/v1/services/shop", "", headers...); got.code != http.StatusBadRequest || s.arrived() != 0 {
			t.Errorf("%v: %d", headers, got.code)
		}
	}
}

func TestNoHeaderMakesAnotherMethodOfARequest(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		got := ask(t, "POST", at+"/v1/services/shop/policy", "_method=DELETE", name+": DELETE", "Content-Type: application/x-www-form-urlencoded")
		if got.code != http.StatusMethodNotAllowed || s.arrived() != 0 {
			t.Errorf("%s: %d", name, got.code)
		}
	}
}

// A page whose name was made to lead to this machine has that name in its requests: security.md's S13.
func TestOnLoopbackAServerAnswersToItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	s := &script{watch: endAtOnce}
	a, at := serve(t, s, func(c *Config) { c.Hosts = []string{"rollcall.internal"} })
	for _, r := range routes(a) {
		method, path := split(r)
		got := ask(t, method, at+path, "", "Host: evil.example")
		if got.code != http.StatusForbidden || got.problem(t).Code != 7 || s.arrived() != 0 {
			t.Errorf("%s: %d %s", r, got.code, got.body)
		}
	}
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:80": 200, "localhost.": 200, "127.0.0.1:1": 200, "[::1]": 200, "[::1]:9": 200, "10.1.2.3": 200, "Rollcall.Internal:80": 200,
		"rollcall.internal.evil.example": 403, "evil.localhost": 403, "localhost.evil.example": 403, "127.0.0.1.nip.example": 403, "2130706433": 403, "0x7f.1": 403, "": 200,
	} {
		if host == "" {
			continue
		}
		if got := ask(t, "GET", at+"/livez", "", "Host: "+host); got.code != want {
			t.Errorf("Host %q: %d, want %d", host, got.code, want)
		}
	}
}

func TestOffLoopbackNamesAreCheckedWhenThereAreSome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		local string
		hosts []string
		want  bool
	}{
		{"10.0.0.1:7052", nil, true},
		{"10.0.0.1:7052", []string{"other.example"}, false},
		{"10.0.0.1:7052", []string{"any.example"}, true},
		{"127.0.0.1:7052", nil, false},
		{"[::1]:7052", nil, false},
		{"[::ffff:127.0.0.1]:7052", nil, false},
		{"", nil, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://any.example/", nil)
		if c.local != "" {
			addr, err := net.ResolveTCPAddr("tcp", c.local)
			if err != nil {
				t.Fatal(err)
			}
			r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(addr)))
		}
		if got := meant(r, c.hosts); got != c.want {
			t.Errorf("at %q with %v: %v", c.local, c.hosts, got)
		}
	}
}

// security.md's S12.
func TestAPageOfAnotherOriginChangesNothingAndHoldsNoStream(t *testing.T) {
	t.Parallel()
	s := &script{watch: endAtOnce}
	_, at := serve(t, s)
	for _, headers := range [][]string{{"Origin: https://evil.example"}, {"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: null"}} {
		for _, r := range []string{
			"POST /v1/services/shop/instances", "PUT /v1/services/shop/policy", "DELETE /v1/services/shop/policy", "POST /v1/services/shop/accept",
			"GET /v1/services/shop/watch", "GET /v1/watch",
		} {
			method, path := split(r)
			got := ask(t, method, at+path, anInstance, append(headers, "Content-Type: text/plain")...)
			if got.code != http.StatusForbidden || s.arrived() != 0 {
				t.Errorf("%s with %v: %d %s", r, headers, got.code, got.body)
			}
		}
		got := ask(t, "GET", at+"/v1/services", "", headers...)
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("with %v the browser is told to show the answer", headers)
		}
		s.calls = nil
	}
	if got := ask(t, "POST", at+"/v1/services/shop/instances", anInstance, "Origin: "+at); got.code != http.StatusOK {
		t.Errorf("the server's own page: %d %s", got.code, got.body)
	}
}

func TestAPageOfAnAllowedOriginMayUseTheAPI(t *testing.T) {
	t.Parallel()
	s := &script{watch: endAtOnce}
	_, at := serve(t, s, func(c *Config) { c.Origins = []string{"https://ops.example"} })
	got := ask(t, "OPTIONS", at+"/v1/services/shop/policy", "", "Origin: https://ops.example", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization")
	if got.code != http.StatusNoContent || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "PUT") || s.arrived() != 0 {
		t.Errorf("preflight: %d %v", got.code, got.header)
	}
	got = ask(t, "PUT", at+"/v1/services/shop/policy", `{}`, "Origin: https://ops.example", "Sec-Fetch-Site: cross-site")
	if got.code != http.StatusOK || got.header.Get("Access-Control-Allow-Origin") != "https://ops.example" || got.header.Get("Vary") != "Origin" {
		t.Errorf("PUT: %d %v", got.code, got.header)
	}
	for _, origin := range []string{"https://ops.example.evil", "http://ops.example", "https://ops.example:444", "https://OPS.example"} {
		got := ask(t, "PUT", at+"/v1/services/shop/policy", `{}`, "Origin: "+origin)
		if got.code != http.StatusForbidden || got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", origin, got.code, got.header)
		}
	}
	if _, err := New(Config{Origins: []string{"ops.example"}}); err == nil {
		t.Error("an origin without a scheme was accepted")
	}
}

func TestWithoutAllowedOriginsThereIsNoCORS(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{})
	got := ask(t, "OPTIONS", at+"/v1/services", "", "Origin: https://ops.example", "Access-Control-Request-Method: GET")
	if got.code != http.StatusMethodNotAllowed {
		t.Errorf("preflight: %d", got.code)
	}
	for name := range maps.Keys(got.header) {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s is there", name)
		}
	}
}

func TestABodyThatIsTooLargeReachesNobody(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	large := `{"token":"` + strings.Repeat("x", maxBody-12) + `"}`
	if got := ask(t, "POST", at+"/v1/services/shop/instances/a/heartbeat", large); got.code != http.StatusOK {
		t.Errorf("%d bytes: %d %s", len(large), got.code, got.body)
	}
	s.last(t)
	for _, path := range []string{"/v1/services/shop/instances/a/heartbeat", "/v1/services/shop/watch", "/livez", "/nowhere"} {
		if got := ask(t, "POST", at+path, large+" "); got.code != http.StatusRequestEntityTooLarge || got.problem(t).Code != 8 || s.arrived() != 0 {
			t.Errorf("%s: %d %s", path, got.code, got.body)
		}
	}
}

func TestABodyThatComesTooSlowlyReachesNobody(t *testing.T) {
	t.Parallel()
	s := &script{}
	a, at := serve(t, s)
	a.patience = 200 * time.Millisecond
	slow, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	_ = slow.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(slow, "POST /v1/services/shop/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(slow) // until the connection is closed, too
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 408 ") || s.arrived() != 0 {
		t.Errorf("%q, %v", text, err)
	}
	got := ask(t, "POST", at+"/v1/services/shop/accept", "{}")
	if got.code != http.StatusOK {
		t.Errorf("the next: %d %s", got.code, got.body)
	}
}

func TestAPanicIsAnAnswerAndAMetric(t *testing.T) {
	t.Parallel()
	a, at := serve(t, &script{}, func(c *Config) { c.Ready = func() []Check { return []Check{{"broken", mistake()}} } })
	if got := ask(t, "GET", at+"/readyz", ""); got.code != http.StatusInternalServerError || got.problem(t).Code != 13 {
		t.Errorf("%d %s", got.code, got.body)
	}
	if page := ask(t, "GET", at+"/metrics", "").body; !strings.Contains(page, "rollcall_http_panics_total 1") {
		t.Error("the panic was not counted")
	}
	a.routes["/half"] = route{"/half", reading, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"half":`))
		_ = http.NewResponseController(w).Flush()
		_ = mistake()
	}}
	resp, err := http.Get(at + "/half")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := resp.Body.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 100)); err == nil || err.Error() == "EOF" {
		t.Errorf("half an answer ends as if it were whole: %v", err)
	}
}

// mistake is one that programs make.
func mistake() error {
	var checks []Check
	return checks[len(os.Args)].Err
}

// fixed answers each call of one method with the same.
func fixed(method string, answer proto.Message) func(string, proto.Message) (proto.Message, error) {
	return func(called string, request proto.Message) (proto.Message, error) {
		if called == method {
			return answer, nil
		}
		return nothing(called, request)
	}
}
