package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
	"github.com/rollcall-io/rollcall/internal/httpapi"
)

// httpServer is the API over HTTP, in front of a real one over gRPC.
type httpServer struct {
	*apiServer
	t   testing.TB
	url string
}

func serveHTTPAPI(t testing.TB, etcd *etcdtest.Server, opts ...rollcall.Option) *httpServer {
	t.Helper()
	api := serveAPI(t, etcd, grpcapi.Config{}, opts...)
	web, err := httpapi.New(httpapi.Config{Conn: api.conn})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(web)
	t.Cleanup(func() {
		web.Close()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return &httpServer{api, t, server.URL}
}

// webAnswer is an answer of HTTP.
type webAnswer struct {
	code   int
	header http.Header
	body   string
}

func (w *httpServer) ask(method, path, body string) webAnswer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(within(w.t, apiPatience), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return webAnswer{resp.StatusCode, resp.Header, string(text)}
}

// must is ask for what has to go well; the answer is decoded into out unless that is nil.
func (w *httpServer) must(method, path, body string, out any) webAnswer {
	w.t.Helper()
	got := w.ask(method, path, body)
	if got.code != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s", method, path, got.code, got.body)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(got.body), out); err != nil {
			w.t.Fatalf("%s %s: %q: %v", method, path, got.body, err)
		}
	}
	return got
}

// webService is what a test reads of a service.
type webService struct {
	Revision  string
	Instances []struct {
		ID, Addr, State, EffectiveState, Zone string
		Metadata                              map[string]string
	}
	Stale *struct{ Since, Reason string }
}

func (s webService) ids() []string {
	ids := []string{}
	for _, i := range s.Instances {
		ids = append(ids, i.ID)
	}
	return ids
}

// eventually asks until the answer is as wanted.
func (w *httpServer) eventually(what string, so func() bool) {
	w.t.Helper()
	eventually(w.t, apiPatience, what, so)
}

// webEvents is an event stream.
type webEvents struct {
	t     testing.TB
	lines *bufio.Scanner
	leave context.CancelFunc
}

// webEvent is one Server-Sent Event.
type webEvent struct {
	name, id string
	data     struct {
		Updates []struct {
			Op       string
			Instance struct{ ID string }
			Expired  bool
		}
		Services []struct {
			Service   string
			Instances int
		}
		Stale *struct{ Reason string }
	}
}

func (e webEvent) revision(t testing.TB) int64 {
	t.Helper()
	text, _, _ := strings.Cut(e.id, "-")
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("an event has the id %q", e.id)
	}
	return revision
}

func (e webEvent) updates() string {
	var out []string
	for _, u := range e.data.Updates {
		out = append(out, strings.TrimPrefix(u.Op, "OP_")+" "+u.Instance.ID)
	}
	return strings.Join(out, ", ")
}

func (w *httpServer) events(path, last string) *webEvents {
	w.t.Helper()
	ctx, leave := context.WithTimeout(context.Background(), 2*apiPatience)
	w.t.Cleanup(leave)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d", path, resp.StatusCode)
	}
	return &webEvents{w.t, bufio.NewScanner(resp.Body), leave}
}

// next returns the next event; one without a name is the stream's end.
func (e *webEvents) next() webEvent {
	e.t.Helper()
	var got webEvent
	for e.lines.Scan() {
		field, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch field {
		case "id":
			got.id = value
		case "event":
			got.name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &got.data); err != nil {
				e.t.Fatalf("%q: %v", value, err)
			}
		case "":
			if got.name != "" {
				return got
			}
		}
	}
	if err := e.lines.Err(); err != nil {
		e.t.Fatalf("read events: %v", err)
	}
	return webEvent{}
}
