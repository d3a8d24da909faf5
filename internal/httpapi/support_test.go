package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a gRPC server that answers as a test tells it to: these tests are about what becomes of that over HTTP. What the real
// server answers is tested in internal/integration.
type script struct {
	rollcallv1.UnimplementedRegistrationServiceServer
	rollcallv1.UnimplementedDiscoveryServiceServer
	rollcallv1.UnimplementedControlServiceServer

	answers func(method string, request proto.Message) (proto.Message, error) // to calls
	first   func(context.Context, proto.Message) (proto.Message, error)       // asked before answers, unless nil; may have none
	watch   func(*rollcallv1.WatchRequest, func(*rollcallv1.WatchResponse) error, context.Context) error
	all     *rollcallv1.WatchServicesResponse // what WatchServices tells instead of its two services

	mu    sync.Mutex
	calls []call
}

// call is one that arrived.
type call struct {
	method   string
	request  proto.Message
	metadata metadata.MD
}

func (s *script) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	s.mu.Lock()
	s.calls = append(s.calls, call{method, request.(proto.Message), md})
	s.mu.Unlock()
	if s.first != nil {
		if answer, err := s.first(ctx, request.(proto.Message)); answer != nil || err != nil {
			return answer, err
		}
	}
	return s.answers(method, request.(proto.Message))
}

func (s *script) Watch(request *rollcallv1.WatchRequest, stream grpc.ServerStreamingServer[rollcallv1.WatchResponse]) error {
	return s.watch(request, stream.Send, stream.Context())
}

// last returns the call that arrived last, and forgets all.
func (s *script) last(t *testing.T) call {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		t.Fatal("no call arrived")
	}
	c := s.calls[len(s.calls)-1]
	s.calls = nil
	return c
}

func (s *script) arrived() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// nothing answers each call with an empty message of its own kind.
func nothing(method string, _ proto.Message) (proto.Message, error) {
	for _, m := range methods() {
		if string(m.Name()) == method {
			return newAnswer(m), nil
		}
	}
	return nil, nil
}

// serve returns an API in front of a script, and where it is.
func serve(t *testing.T, s *script, change ...func(*Config)) (*API, string) {
	t.Helper()
	if s.answers == nil {
		s.answers = nothing
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.UnaryInterceptor(s.intercept))
	rollcallv1.RegisterRegistrationServiceServer(server, s)
	rollcallv1.RegisterDiscoveryServiceServer(server, s)
	rollcallv1.RegisterControlServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	cc, err := grpc.NewClient("passthrough:///here", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Conn: cc, Version: "v1.2.3", Revision: "abc"}
	for _, c := range change {
		c(&config)
	}
	a, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(a)
	t.Cleanup(func() {
		a.Close()
		web.Close()
		_ = cc.Close()
		server.Stop()
		serving.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	return a, web.URL
}

// answer is a response that was read.
type answer struct {
	code   int
	header http.Header
	body   string
}

// ask sends a request; headers are "Name: value".
func ask(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) answer {
	t.Helper()
	once := &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := once.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// problem is a google.rpc.Status.
type problem struct {
	Code    int              `json:"code"`
	Message string           `json:"message"`
	Details []map[string]any `json:"details"`
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Code == 0 {
		t.Fatalf("%d %q is no google.rpc.Status: %v", a.code, a.body, err)
	}
	return p
}

// events is an event stream that is read.
type eventReader struct {
	t      *testing.T
	header http.Header
	lines  *bufio.Reader
	close  func()
}

// subscribe opens an event stream.
func subscribe(t *testing.T, url string, headers ...string) *eventReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %d %s", url, resp.StatusCode, text)
	}
	return &eventReader{t, resp.Header, bufio.NewReader(resp.Body), func() { cancel(); _ = resp.Body.Close() }}
}

// next returns the next block as "name id data", ":" for a comment, "retry" for that, "" when the stream has ended.
func (e *eventReader) next() string {
	e.t.Helper()
	fields := map[string]string{}
	for {
		line, err := e.lines.ReadString('\n')
		if err == io.EOF {
			return ""
		}
		if err != nil {
			e.t.Fatalf("read events: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimPrefix(value, " ")
	}
	if _, comment := fields[""]; comment {
		return ":"
	}
	if _, retry := fields["retry"]; retry {
		return "retry"
	}
	return strings.TrimSpace(fields["event"] + " " + fields["id"] + " " + fields["data"])
}

// event returns the next event, without comments.
func (e *eventReader) event() string {
	e.t.Helper()
	for {
		if got := e.next(); got != ":" && got != "retry" {
			return got
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func readCloser(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }
