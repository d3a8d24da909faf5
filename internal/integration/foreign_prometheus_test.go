package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// scraped is a program with metrics, and counts how often somebody asks for them.
type scraped struct {
	addr    string
	scrapes atomic.Int64
}

func startScraped(t *testing.T) *scraped {
	t.Helper()
	s := new(scraped)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.scrapes.Add(1)
		_, _ = fmt.Fprintln(w, "up_and_well 1")
	}))
	t.Cleanup(server.Close)
	s.addr = strings.TrimPrefix(server.URL, "http://")
	return s
}

// awaitScrapes waits until the program was asked n times more.
func (s *scraped) awaitScrapes(t *testing.T, n int64) {
	t.Helper()
	want := s.scrapes.Load() + n
	eventually(t, processPatience, "Prometheus scrapes "+s.addr, func() bool { return s.scrapes.Load() >= want })
}

// prometheus is Prometheus as a process.
type prometheus struct {
	t   *testing.T
	url string
	sd  atomic.Int64 // answers of http_sd, all of them good
}

// startPrometheus starts Prometheus, which finds its targets by a server's http_sd.
func startPrometheus(t *testing.T, s *serverProcess) *prometheus {
	t.Helper()
	program := programOf(t, "prometheus")
	p := &prometheus{t: t, url: "http://" + freeAddr(t)}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs:
- job_name: rollcall
  http_sd_configs:
  - url: %s/v1/prometheus/http_sd?prefix=orders
    refresh_interval: 1s
  relabel_configs:
  - {source_labels: [__meta_rollcall_service], target_label: service}
  - {source_labels: [__meta_rollcall_zone], target_label: zone}
  - {source_labels: [__meta_rollcall_metadata_team], target_label: team}
`, p.countDiscovery(s))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", strings.TrimPrefix(p.url, "http://"))
	tie(cmd)
	said, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = said.Close()
		if text, _ := os.ReadFile(said.Name()); t.Failed() {
			t.Logf("Prometheus says:\n%s", text)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return p
}

// countDiscovery stands between Prometheus and the server, and counts.
func (p *prometheus) countDiscovery(s *serverProcess) string {
	to := &url.URL{Scheme: "http", Host: s.http}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, DisableKeepAlives: true},
		ErrorLog:  log.New(io.Discard, "", 0), // Prometheus gives up now and then, when its machine is busy
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode != http.StatusOK {
				p.t.Errorf("http_sd answers Prometheus %s", r.Status)
			}
			p.sd.Add(1)
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	p.t.Cleanup(server.Close)
	return server.URL
}

// awaitDiscovery waits until Prometheus has asked http_sd anew, twice: what it was told the first time it has taken in by then.
func (p *prometheus) awaitDiscovery() {
	p.t.Helper()
	want := p.sd.Load() + 2
	eventually(p.t, processPatience, "Prometheus asks for targets", func() bool { return p.sd.Load() >= want })
}

// target is a target as Prometheus tells of it.
type target struct {
	Labels map[string]string
	Health string
}

// targets returns the targets by address; none while Prometheus does not answer yet.
func (p *prometheus) targets() map[string]target {
	p.t.Helper()
	resp, err := http.Get(p.url + "/api/v1/targets?state=active")
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Data struct{ ActiveTargets []target }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil
	}
	found := map[string]target{}
	for _, t := range answer.Data.ActiveTargets {
		found[t.Labels["instance"]] = t
	}
	return found
}

// awaitTargets waits until exactly these are scraped, and well.
func (p *prometheus) awaitTargets(want ...*scraped) {
	p.t.Helper()
	eventually(p.t, processPatience, fmt.Sprintf("%d targets are up", len(want)), func() bool {
		found := p.targets()
		for _, s := range want {
			if found[s.addr].Health != "up" {
				return false
			}
		}
		return found != nil && len(found) == len(want)
	})
}

func TestPrometheusScrapesWhatIsRegisteredAlsoWithoutEtcd(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	s := serveProcess(t, etcd)
	p := startPrometheus(t, s)
	p.awaitDiscovery()
	p.awaitTargets()

	one, two, other := startScraped(t), startScraped(t), startScraped(t)
	register(t, reg, "orders", rollcallInstance(one.addr, "a"))
	leaving := register(t, reg, "orders.eu", rollcallInstance(two.addr, "b"))
	register(t, reg, "billing", rollcallInstance(other.addr, "a"))
	p.awaitTargets(one, two)
	one.awaitScrapes(t, 2)
	mustEqual(t, "labels", p.targets()[two.addr].Labels, map[string]string{
		"instance": two.addr, "job": "rollcall", "service": "orders.eu", "zone": "b", "team": "jie",
	})

	etcd.Stop()
	eventually(t, processPatience, "the server says that its answer is old", func() bool {
		resp, err := http.Get(s.url() + "/v1/prometheus/http_sd")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.Header.Get("Rollcall-Stale-Since") != ""
	})
	p.awaitDiscovery()
	p.awaitTargets(one, two)
	one.awaitScrapes(t, 2)
	two.awaitScrapes(t, 2)

	etcd.Restart()
	eventually(t, processPatience, "an instance can leave", func() bool { return leaving.Deregister(within(t, processPatience)) == nil })
	p.awaitTargets(one)
	if n := other.scrapes.Load(); n > 0 {
		t.Errorf("a service that was not asked for is scraped %d times", n)
	}
}
