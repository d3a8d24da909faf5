package integration

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/server"
	"github.com/rollcall-io/rollcall/metrics"
)

// family is what a page of metrics says of one name, or docs/monitoring.md in its table.
type family struct {
	kind   string // counter, gauge or histogram
	labels string // sorted, with ", " between
}

// page is what a program tells Prometheus: by name, with everything that its series are called.
type page struct {
	families map[string]family
	names    map[string]bool // of series, such as x_bucket
	text     string
}

// readPage reads what is written in Prometheus's text format.
func readPage(text string) page {
	p := page{map[string]family{}, map[string]bool{}, text}
	labels := map[string]map[string]bool{}
	series := regexp.MustCompile(`^([a-z_A-Z0-9:]+)(?:\{(.*)\})? `)
	label := regexp.MustCompile(`([a-z_A-Z0-9]+)="(?:[^"\\]|\\.)*"`)
	of := ""
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
			of, labels[name], p.families[name] = name, map[string]bool{}, family{kind: kind}
		}
		m := series.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(line, "#") {
			continue
		}
		p.names[m[1]] = true
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" && l[1] != "quantile" {
				labels[of][l[1]] = true
			}
		}
	}
	for name, f := range p.families {
		f.labels = sortedNames(labels[name])
		p.families[name] = f
	}
	return p
}

func sortedNames(set map[string]bool) string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ours returns the families that docs/monitoring.md lists: not Go's, the process's and etcd's own.
func (p page) ours() map[string]family {
	found := map[string]family{}
	for name, f := range p.families {
		if strings.HasPrefix(name, "rollcall_") || strings.HasPrefix(name, "grpc_server_") {
			found[name] = f
		}
	}
	return found
}

// readTable reads the table of metrics in docs/monitoring.md: those of the server, and those that the library has, too.
func readTable(t *testing.T) (ofServer, ofLibrary map[string]family) {
	t.Helper()
	text, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	ofServer, ofLibrary = map[string]family{}, map[string]family{}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (counter|gauge|histogram) \\| ([^|]*) \\| [^|]+ \\| (server|both) \\|$")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		f := family{m[2], strings.ReplaceAll(strings.TrimSpace(m[3]), "`", "")}
		ofServer[m[1]] = f
		if m[4] == "both" {
			ofLibrary[m[1]] = f
		}
	}
	if rows := strings.Count(string(text), "\n| `rollcall_") + strings.Count(string(text), "\n| `grpc_server_"); rows != len(ofServer) {
		t.Errorf("docs/monitoring.md has %d rows of metrics, of which %d can be read", rows, len(ofServer))
	}
	return ofServer, ofLibrary
}

// scrapeServer returns the page of a whole server, with an etcd inside and certificates, of which every metric was made to tell something.
func scrapeServer(t *testing.T) page {
	t.Helper()
	ca := newAuthority(t)
	cfg := server.Config{
		DataDir: t.TempDir(), ClientURL: "http://127.0.0.1:0", Prefix: rollcall.DefaultPrefix, GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0",
		DNSListen: "127.0.0.1:0", TLS: ca.files(t.TempDir()), Canary: time.Second, StopTimeout: time.Second,
	}
	info := serveInside(t, cfg)
	as := &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.holder("ops")}}
	conn, err := grpc.NewClient(info.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(as)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := within(t, apiPatience)
	_, err = rollcallv1.NewRegistrationServiceClient(conn).Register(ctx, &rollcallv1.RegisterRequest{Service: "orders", Instance: &rollcallv1.Instance{
		Addr: info.GRPC, Check: &rollcallv1.Check{Type: "tcp", Interval: durationpb.New(time.Second)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: as}}
	var p page
	eventually(t, apiPatience, "the page tells of the registered service, of requests and of a check", func() bool {
		text := fetch(t, client, info.HTTP+"/metrics")
		p = readPage(text)
		return strings.Contains(text, `rollcall_service_instances{service="orders"} 1`) && p.names["rollcall_http_requests_total"] && p.names["rollcall_check_probes_total"]
	})
	return p
}

func fetch(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t, apiPatience), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(text)
}

// serveInside runs a server in this process until t ends.
func serveInside(t *testing.T, cfg server.Config) server.Info {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan server.Info, 1), make(chan error, 1)
	go func() { ended <- server.Run(ctx, cfg, func(i server.Info) { ready <- i }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ends with %v", err)
		}
	})
	select {
	case info := <-ready:
		return info
	case err := <-ended:
		ended <- nil
		t.Fatalf("the server did not start: %v", err)
		return server.Info{}
	}
}

// scrapeProgram returns the page of a program that uses the library, on the same etcd as a test's.
func scrapeProgram(t *testing.T) page {
	t.Helper()
	reg, _ := start(t)
	register(t, reg, "orders", rollcall.Instance{Addr: "10.0.0.1:1"})
	until(t, watch(t, reg, "orders"), apiPatience, "its own instance", hasIDs("10.0.0.1:1"))
	own := prom.NewRegistry()
	own.MustRegister(metrics.NewCollector(reg))
	web := httptest.NewServer(promhttp.HandlerFor(own, promhttp.HandlerOpts{}))
	defer web.Close()
	return readPage(fetch(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, web.URL))
}
