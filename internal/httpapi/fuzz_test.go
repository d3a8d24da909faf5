package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusing is a gRPC server that refuses everything, and notes what reached it.
type refusing struct{ reached []string }

// Invoke implements [grpc.ClientConnInterface].
func (c *refusing) Invoke(_ context.Context, method string, _, _ any, _ ...grpc.CallOption) error {
	c.reached = append(c.reached, method)
	return status.Error(codes.PermissionDenied, "refused")
}

// NewStream implements [grpc.ClientConnInterface].
func (c *refusing) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	c.reached = append(c.reached, method)
	return nil, status.Error(codes.PermissionDenied, "refused")
}

// Whatever is asked for, in whatever spelling: the answer is whole, and what the gRPC server refuses is refused.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{"/v1/services", "/v1/services/a/instances/b/heartbeat", "/v1/services/a/watch", "/v1/prometheus/http_sd?label=a%3Db", "/v1//services", "/v1/services/%2e%2e", "/v1/services/%2f", "/%76%31/services", "/v1/revision/9?timeout=1s", "/readyz?exclude=%zz", "*"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			f.Add(method, path, `{"service":"a"}`)
		}
	}
	conn := &refusing{}
	a, err := New(Config{Conn: conn})
	if err != nil {
		f.Fatal(err)
	}
	defer a.Close()
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		conn.reached = nil
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Method, r.URL, r.Host = method, u, "localhost"
		r.Body = http.NoBody
		if body != "" {
			r.Body = readCloser(body)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError || w.Code >= 300 && w.Code < 400 {
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
		if w.Code >= 400 && w.Code != http.StatusServiceUnavailable && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q: %d %q", method, path, w.Code, w.Body)
		}
		if len(conn.reached) > 0 && w.Code != http.StatusForbidden {
			t.Errorf("%s %q reached %v, which refused it, and is answered with %d", method, path, conn.reached, w.Code)
		}
	})
}
