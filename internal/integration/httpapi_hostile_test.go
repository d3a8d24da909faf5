package integration

import (
	"bufio"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// hostiles are values that would be more than text if somebody took an answer for a page.
var hostiles = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `<!doctype html><html><body onload=alert(1)>`, `javascript:alert(1)`, `</title><svg/onload=alert(1)>`,
	"\u202e\u2066evil\u2069", "\ufeff<html>", "{{7*7}}${7*7}", "data: x\n\nevent: fake\ndata: {}\n\n", "a\r\nX-Injected: 1", "\u2028\u2029", "%3Cscript%3E",
}

// CVE-2020-25864 and CVE-2024-10086: what somebody registers comes back as data from every route, as it was, and never as a page.
func TestHostileValuesComeBackAsDataFromEveryRoute(t *testing.T) {
	t.Parallel()
	web := serveHTTPAPI(t, etcdtest.Start(t))
	metadata := map[string]string{}
	for _, h := range hostiles {
		metadata[h] = h
	}
	const id, label, path = `<img src=x onerror=alert(1)>`, "<script>alert(1)</script>", "/v1/services/shop"
	web.must("POST", path+"/instances", hostileJSON(t, map[string]any{"instance": map[string]any{
		"id": id, "addr": "<svg/onload=alert(1)>:80", "zone": label, "version": label, "addrs": map[string]string{label: "10.0.0.1:80"}, "metadata": metadata,
	}}), nil)
	reason := strings.Join(hostiles, " ")
	web.must("PUT", path+"/policy", hostileJSON(t, map[string]any{"policy": map[string]any{"document": map[string]any{"timeout": "1s", "reason": reason, "author": id}}}), nil)
	web.must("PUT", path+"/overrides/"+url.PathEscape(id), hostileJSON(t, map[string]any{"override": map[string]any{"drain": true, "reason": reason, "author": id}}), nil)
	var got webService
	web.eventually("the instance", func() bool {
		web.must("GET", path, "", &got)
		return len(got.Instances) == 1 && got.Instances[0].EffectiveState == "draining"
	})
	for _, h := range hostiles {
		if got.Instances[0].Metadata[h] != h {
			t.Errorf("%q came back as %q", h, got.Instances[0].Metadata[h])
		}
	}
	routes := httpRoutes(t)
	slices.SortStableFunc(routes, func(a, b webRoute) int { return cmp.Compare(readsFirst(a.method), readsFirst(b.method)) })
	told := 0
	for _, r := range routes {
		own := strings.ReplaceAll(r.path, "10.0.0.1:1", url.PathEscape(id))
		for _, path := range []string{own, own + "/" + url.PathEscape(label), own + "?" + url.QueryEscape(label) + "=" + url.QueryEscape(label), strings.Replace(own, "shop", url.PathEscape(label), 1)} {
			if web.isData(r.method, path, hostileJSON(t, map[string]string{label: label})) {
				told++
			}
		}
	}
	if told < 20 {
		t.Errorf("only %d answers have a hostile value: what is tested here?", told)
	}
}

// readsFirst sorts what reads before what changes.
func readsFirst(method string) int {
	if method == http.MethodGet {
		return 0
	}
	return 1
}

func hostileJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isData fails the test unless a browser, which asks for pages, is answered with data, and reports whether there are hostile values in it. Of
// a stream that is its first event.
func (w *httpServer) isData(method, path, body string) (hostile bool) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(within(w.t, apiPatience), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var text string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); text += lines.Text() + "\n" {
		if strings.HasPrefix(lines.Text(), "data: ") {
			text += lines.Text()
			break
		}
	}
	hostile = strings.Contains(text, "alert(1)")
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	// Plain text, of health and metrics, has nobody's values in it.
	if kind != "application/json" && kind != "text/event-stream" && (kind != "text/plain" || hostile) {
		w.t.Errorf("%s %s is %q", method, path, resp.Header.Get("Content-Type"))
	}
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		w.t.Errorf("%s %s: %v", method, path, resp.Header)
	}
	if resp.Header.Get("X-Injected") != "" || strings.Contains(text, "\nX-Injected") || strings.Contains(text, "\nevent: fake") {
		w.t.Errorf("%s %s: a value has become more than a value: %q", method, path, text)
	}
	if kind == "application/json" && text != "" && !json.Valid([]byte(text)) {
		w.t.Errorf("%s %s: %q", method, path, text)
	}
	return hostile
}
