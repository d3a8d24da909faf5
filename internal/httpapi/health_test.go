package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-io/rollcall/api"
)

func TestReadinessIsThatOfTheChecks(t *testing.T) {
	t.Parallel()
	checks := []Check{{"etcd", errors.New("connection refused\nsince 3 s")}, {"listed", nil}}
	_, at := serve(t, &script{}, func(c *Config) { c.Ready = func() []Check { return checks } })
	for path, want := range map[string]struct {
		code int
		body string
	}{
		"/readyz":                                {503, "[-]etcd failed: connection refused; since 3 s\n[+]listed ok\nreadyz check failed\n"},
		"/readyz?verbose":                        {503, "[-]etcd failed: connection refused; since 3 s\n[+]listed ok\nreadyz check failed\n"},
		"/readyz?exclude=etcd":                   {200, "ok\n"},
		"/readyz?exclude=etcd&verbose":           {200, "[+]etcd excluded: ok\n[+]listed ok\nreadyz check passed\n"},
		"/readyz?exclude=listed":                 {503, "[-]etcd failed: connection refused; since 3 s\n[+]listed excluded: ok\nreadyz check failed\n"},
		"/readyz?exclude=etcd&exclude=x&verbose": {200, "[+]etcd excluded: ok\n[+]listed ok\nwarn: there is no check \"x\" to exclude\nreadyz check passed\n"},
		"/livez":                                 {200, "ok\n"},
		"/livez?verbose":                         {200, "livez check passed\n"},
		"/healthz":                               {200, "ok\n"},
	} {
		if got := ask(t, "GET", at+path, ""); got.code != want.code || got.body != want.body {
			t.Errorf("%s: %d %q", path, got.code, got.body)
		}
	}
	checks = checks[1:]
	if got := ask(t, "GET", at+"/readyz", ""); got.code != http.StatusOK || got.body != "ok\n" {
		t.Errorf("%d %q", got.code, got.body)
	}
}

func TestTheServerTellsItsVersionAndItsAPI(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{})
	mustEqualJSON(t, ask(t, "GET", at+"/version", "").body, map[string]any{"version": "v1.2.3", "revision": "abc", "go": runtime.Version()})
	got := ask(t, "GET", at+"/openapi.json", "")
	if got.header.Get("Content-Type") != "application/json" || got.body != api.OpenAPI() || !json.Valid([]byte(got.body)) {
		t.Errorf("%v %.80q", got.header, got.body)
	}
}

func TestMetricsAreAskedForByRouteAndNotByPath(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{watch: endAtOnce})
	for _, path := range []string{"/v1/services/a", "/v1/services/b", "/v1/services/c/watch", "/nowhere/1", "/nowhere/2", "/v1/services/x/y/z", "//x", "/livez"} {
		ask(t, "GET", at+path, "")
		ask(t, "BREW", at+path, "")
	}
	page := ask(t, "GET", at+"/metrics", "")
	if !strings.HasPrefix(page.header.Get("Content-Type"), "text/plain") {
		t.Errorf("Content-Type %q", page.header.Get("Content-Type"))
	}
	for _, want := range []string{
		`rollcall_http_requests_total{code="200",method="GET",route="/v1/services/{service}"} 2`,
		`rollcall_http_requests_total{code="503",method="GET",route="/v1/services/{service}/watch"} 1`,
		`rollcall_http_requests_total{code="405",method="other",route="/livez"} 1`,
		`rollcall_http_requests_total{code="404",method="GET",route="other"} 4`,
		`rollcall_http_request_duration_seconds_count{route="/v1/services/{service}"} 2`,
		`rollcall_http_watches 0`,
		`rollcall_build_info{goversion="` + runtime.Version() + `",revision="abc",version="v1.2.3"} 1`,
		"go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, never := range []string{"BREW", "nowhere", `route="/v1/services/a"`, `duration_seconds_count{route="/v1/services/{service}/watch"}`} {
		if strings.Contains(page.body, never) {
			t.Errorf("%s is there", never)
		}
	}
}

// etcd's metrics lie in a registry that has Go's and the process's as well.
func TestOtherMetricsAreThereToo(t *testing.T) {
	t.Parallel()
	other := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "etcd_things_total", Help: "Things."})
	twice := prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_goroutines", Help: "Again."})
	other.MustRegister(counter, twice)
	twice.Set(-1)
	_, at := serve(t, &script{}, func(c *Config) { c.Gatherers = []prometheus.Gatherer{prometheus.DefaultGatherer, other} })
	page := ask(t, "GET", at+"/metrics", "")
	if page.code != http.StatusOK || !strings.Contains(page.body, "etcd_things_total 0") || strings.Contains(page.body, "go_goroutines -1") || strings.Count(page.body, "\ngo_goroutines ") != 1 {
		t.Errorf("%d\n%.400s", page.code, page.body)
	}
}

func TestProfilesAreOnTheirOwnHandlerOnly(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{})
	if got := ask(t, "GET", at+"/debug/pprof/", ""); got.code != http.StatusNotFound {
		t.Errorf("on the API: %d", got.code)
	}
	own := httptest.NewServer(Pprof())
	defer own.Close()
	for path, want := range map[string]string{"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile", "/debug/pprof/cmdline": "httpapi"} {
		if got := ask(t, "GET", own.URL+path, ""); got.code != http.StatusOK || !strings.Contains(got.body, want) || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, got.code, got.header)
		}
	}
	if got := ask(t, "GET", own.URL+"/debug/pprof/", "", "Host: evil.example"); got.code != http.StatusForbidden {
		t.Errorf("by another name: %d", got.code)
	}
}
