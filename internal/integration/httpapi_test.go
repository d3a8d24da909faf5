package integration

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestAProgramThatSpeaksNothingButJSONLivesInTheRegistry(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	web := serveHTTPAPI(t, etcd)
	view := watch(t, open(t, etcd.Endpoint()), "shop")
	var registered struct{ Token, Revision, HeartbeatInterval string }
	web.must("POST", "/v1/services/shop/instances", `{"instance":{"addr":"10.0.0.1:80","metadata":{"team":"jie"}},"ttl":"9s"}`, &registered)
	if registered.Token == "" || registered.HeartbeatInterval != "3s" {
		t.Errorf("registered: %+v", registered)
	}
	until(t, view, apiPatience, "the instance", hasIDs("10.0.0.1:80"))
	web.must("GET", "/v1/revision/"+registered.Revision+"?timeout=5s", "", nil)
	var service webService
	got := web.must("GET", "/v1/services/shop", "", &service)
	if len(service.Instances) != 1 || service.Instances[0].Metadata["team"] != "jie" || service.Instances[0].State != "serving" {
		t.Errorf("service: %s", got.body)
	}
	if got.header.Get("Rollcall-Revision") != service.Revision || service.Revision == "0" {
		t.Errorf("Rollcall-Revision %q beside %s", got.header.Get("Rollcall-Revision"), service.Revision)
	}
	path := "/v1/services/shop/instances/10.0.0.1:80"
	web.must("POST", path+"/heartbeat", `{"token":"`+registered.Token+`"}`, nil)
	if got := web.ask("POST", path+"/heartbeat", `{"token":"wrong"}`); got.code != http.StatusNotFound {
		t.Errorf("a heartbeat with another token: %d %s", got.code, got.body)
	}
	web.must("PUT", path, `{"token":"`+registered.Token+`","instance":{"addr":"10.0.0.1:80","state":"draining"}}`, nil)
	until(t, view, apiPatience, "the drain", func(v *rollcall.View) bool {
		return len(v.Instances) == 1 && v.Instances[0].State == rollcall.StateDraining
	})
	web.must("POST", path+"/deregister", `{"token":"`+registered.Token+`"}`, nil)
	until(t, view, apiPatience, "the goodbye", hasIDs())
}

func TestErrorsOverHTTPAreThoseOfTheAPI(t *testing.T) {
	t.Parallel()
	web := serveHTTPAPI(t, etcdtest.Start(t))
	for _, c := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"POST", "/v1/services/shop/instances", `{"instance":{"addr":"nowhere"}}`, 400, "host:port"},
		{"POST", "/v1/services/shop/instances", `{"instance":{"adr":"10.0.0.1:80"}}`, 400, `unknown field \"adr\"`},
		{"GET", "/v1/services/sh%2Fop", "", 400, "service name"},
		{"GET", "/v1/services/shop%00/watch", "", 400, "service name"},
		{"GET", "/v1/services/shop/policy", "", 404, "NOT_FOUND"},
		{"GET", "/v1/services?pageToken=x", "", 400, "page"},
		{"PUT", "/v1/services/shop/policy", `{"policy":{"document":{"timeout":"1s","reason":"slow"},"revision":"999"}}`, 409, "CONFLICT"},
		{"GET", "/v1/revision/999999?timeout=0.1s", "", 504, "DEADLINE"},
		{"GET", "/v1/prometheus/http_sd?service=sh%2Fop", "", 400, "service name"},
	} {
		got := web.ask(c.method, c.path, c.body)
		if got.code != c.code || !strings.Contains(got.body, c.says) || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.code, got.body)
		}
	}
}

func TestAnInstanceWithAnyIDCanBeSteeredOverHTTP(t *testing.T) {
	t.Parallel()
	web := serveHTTPAPI(t, etcdtest.Start(t))
	escaped := map[string]string{"a/b": "a%2Fb", "a%2Fb": "a%252Fb", "[::1]:80": "[::1]:80", "ü b": "%C3%BC%20b"}
	for id, path := range escaped {
		web.must("PUT", "/v1/services/shop/overrides/"+path, `{"override":{"drain":true,"reason":"`+path+`","author":"jie"}}`, nil)
		var got struct{ Override struct{ Reason string } }
		web.must("GET", "/v1/services/shop/overrides/"+path, "", &got)
		if got.Override.Reason != path {
			t.Errorf("%q: %+v", id, got)
		}
		override, err := web.reg.Override(within(t, apiPatience), "shop", id)
		if err != nil || override.Reason != path {
			t.Errorf("%q in the registry: %+v, %v", id, override, err)
		}
	}
}

func TestAnEventStreamGoesOnWhereItBroke(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	web := serveHTTPAPI(t, etcd)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	web.eventually("the first", func() bool {
		var s webService
		web.must("GET", "/v1/services/shop", "", &s)
		return len(s.Instances) == 1
	})
	events := web.events("/v1/services/shop/watch", "")
	first := events.next()
	if first.name != "snapshot" || first.updates() != "ADD 10.0.0.1:80" {
		t.Fatalf("first: %+v", first)
	}
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80"})
	second := events.next()
	if second.name != "update" || second.updates() != "ADD 10.0.0.2:80" || second.revision(t) <= first.revision(t) {
		t.Fatalf("second: %+v", second)
	}
	events.leave()
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.3:80"})
	web.eventually("the third", func() bool {
		var s webService
		web.must("GET", "/v1/services/shop", "", &s)
		return len(s.Instances) == 3
	})
	for name, again := range map[string]*webEvents{
		"by header": web.events("/v1/services/shop/watch", second.id), "by query": web.events("/v1/services/shop/watch?revision="+second.id, ""),
		"by both": web.events("/v1/services/shop/watch?revision="+first.id, second.id),
	} {
		got := again.next()
		for got.name == "update" && got.updates() == "" { // the third is still on its way to those who watch
			got = again.next()
		}
		if got.name != "update" || got.updates() != "ADD 10.0.0.3:80" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	other := serveHTTPAPI(t, etcd).events("/v1/services/shop/watch", "")
	third := other.next()
	other.leave()
	if again := web.events("/v1/services/shop/watch", third.id).next(); again.name != "update" || again.updates() != "" {
		t.Errorf("with what another server told last: %+v", again)
	}
	all := web.events("/v1/watch?prefix=sh", "").next()
	if all.name != "snapshot" || len(all.data.Services) != 1 || all.data.Services[0].Instances != 3 {
		t.Errorf("all services: %+v", all)
	}
}

func TestAnEventStreamEndsWithItsServer(t *testing.T) {
	t.Parallel()
	web := serveHTTPAPI(t, etcdtest.Start(t))
	events := web.events("/v1/services/shop/watch", "")
	if got := events.next(); got.name != "snapshot" {
		t.Fatalf("%+v", got)
	}
	web.api.EndStreams()
	if got := events.next(); got.name != "end" {
		t.Errorf("%+v", got)
	}
	if got := events.next(); got.name != "" {
		t.Errorf("after the end: %+v", got)
	}
}

func TestWithoutEtcdHTTPAnswersAsBeforeAndSaysSince(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	web := serveHTTPAPI(t, etcd)
	reg := open(t, etcd.Endpoint())
	for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
		register(t, reg, "shop", rollcall.Instance{Addr: addr, Zone: "a"}, rollcall.WithTTL(60*time.Second))
	}
	paths := []string{"/v1/services", "/v1/services/shop", "/v1/prometheus/http_sd"}
	web.eventually("both", func() bool {
		var s webService
		web.must("GET", "/v1/services/shop", "", &s)
		return len(s.Instances) == 2
	})
	before := map[string]string{}
	for _, path := range paths {
		got := web.must("GET", path, "", nil)
		before[path] = got.body
		if since := got.header.Get("Rollcall-Stale-Since"); since != "" {
			t.Errorf("%s: stale since %s", path, since)
		}
	}
	events := web.events("/v1/services/shop/watch", "")
	snapshot := events.next()
	stopped := time.Now()
	etcd.Stop()
	if got := events.next(); got.name != "stale" || got.data.Stale == nil || got.data.Stale.Reason == "" || got.id != snapshot.id {
		t.Errorf("%+v", got)
	}
	for _, path := range paths {
		got := web.must("GET", path, "", nil)
		since, err := time.Parse(time.RFC3339, got.header.Get("Rollcall-Stale-Since"))
		if err != nil || since.Before(stopped.Add(-time.Minute)) || since.After(time.Now()) {
			t.Errorf("%s: stale since %q", path, got.header.Get("Rollcall-Stale-Since"))
		}
		if path == "/v1/prometheus/http_sd" && got.body != before[path] {
			t.Errorf("%s: %s, before %s", path, got.body, before[path])
		}
	}
	var stale webService
	web.must("GET", "/v1/services/shop", "", &stale)
	if stale.Stale == nil || !slices.Equal(stale.ids(), []string{"10.0.0.1:80", "10.0.0.2:80"}) {
		t.Errorf("without etcd: %+v", stale)
	}
	late := web.events("/v1/services/shop/watch", "").next()
	if late.name != "snapshot" || late.data.Stale == nil || late.updates() != "ADD 10.0.0.1:80, ADD 10.0.0.2:80" {
		t.Errorf("a stream that begins without etcd: %+v", late)
	}
	etcd.Restart()
	for {
		got := events.next()
		if got.name == "" {
			t.Fatal("the stream has ended")
		}
		if got.data.Stale == nil {
			break
		}
	}
	if got := web.must("GET", "/v1/services/shop", "", nil); got.header.Get("Rollcall-Stale-Since") != "" {
		t.Errorf("with etcd again: stale since %s", got.header.Get("Rollcall-Stale-Since"))
	}
}

func TestPrometheusFindsWhatIsRegistered(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	web := serveHTTPAPI(t, etcd)
	reg := open(t, etcd.Endpoint())
	if got := web.must("GET", "/v1/prometheus/http_sd", "", nil); got.body != "[]\n" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("nothing: %q %v", got.body, got.header)
	}
	register(t, reg, "cart", rollcall.Instance{Addr: "10.0.0.1:80", Addrs: map[string]string{"metrics": "10.0.0.1:9090"}, Zone: "a", Version: "v1", Weight: 50, Metadata: map[string]string{"team-name": "jie"}})
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80", Zone: "b"})
	type group struct {
		Targets []string
		Labels  map[string]string
	}
	var got []group
	strict := func(query string) []group {
		got = nil
		decoder := json.NewDecoder(strings.NewReader(web.must("GET", "/v1/prometheus/http_sd"+query, "", nil).body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	web.eventually("both", func() bool { return len(strict("")) == 2 })
	want := []group{{[]string{"10.0.0.1:80"}, map[string]string{
		"__meta_rollcall_service": "cart", "__meta_rollcall_id": "10.0.0.1:80", "__meta_rollcall_zone": "a", "__meta_rollcall_version": "v1",
		"__meta_rollcall_state": "serving", "__meta_rollcall_weight": "50", "__meta_rollcall_metadata_team_name": "jie",
	}}, {[]string{"10.0.0.2:80"}, map[string]string{
		"__meta_rollcall_service": "shop", "__meta_rollcall_id": "10.0.0.2:80", "__meta_rollcall_zone": "b", "__meta_rollcall_version": "",
		"__meta_rollcall_state": "serving", "__meta_rollcall_weight": "100",
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	for query, want := range map[string]string{
		"?service=shop": "10.0.0.2:80", "?prefix=ca": "10.0.0.1:80", "?label=zone%3Db": "10.0.0.2:80", "?label=team-name%3Djie": "10.0.0.1:80", "?port=metrics": "10.0.0.1:9090",
	} {
		if got := strict(query); len(got) != 1 || got[0].Targets[0] != want {
			t.Errorf("%s: %+v", query, got)
		}
	}
}

func TestCurlRegistersAndWatches(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		lacking(t, err)
	}
	web := serveHTTPAPI(t, etcdtest.Start(t))
	curl := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(within(t, apiPatience), "curl", append([]string{"-sS", "--fail-with-body", "--noproxy", "*"}, args...)...).Output()
		if err != nil {
			t.Fatalf("curl %s: %v\n%s", args, err, out)
		}
		return string(out)
	}
	var registered struct{ Token, Revision string }
	if err := json.Unmarshal([]byte(curl("-d", `{"instance":{"addr":"10.0.0.1:80"}}`, web.url+"/v1/services/shop/instances")), &registered); err != nil {
		t.Fatal(err)
	}
	curl(web.url + "/v1/revision/" + registered.Revision)
	if got := curl("-I", web.url+"/v1/services/shop"); !strings.Contains(strings.ToLower(got), "rollcall-revision: ") {
		t.Errorf("curl -I: %s", got)
	}
	watch := func(last, until string) string {
		t.Helper()
		return curlUntil(t, until, "-H", "Last-Event-ID: "+last, web.url+"/v1/services/shop/watch")
	}
	begun := watch("", "OP_ADD")
	_, id, _ := strings.Cut(begun, "\nid: ")
	id, _, _ = strings.Cut(id, "\n")
	if !strings.Contains(begun, "event: snapshot") || !strings.HasPrefix(id, registered.Revision+"-") {
		t.Errorf("curl -N: %s", begun)
	}
	curl("-d", `{"token":"`+registered.Token+`"}`, web.url+"/v1/services/shop/instances/10.0.0.1:80/deregister")
	if got := watch(id, "OP_DELETE"); strings.Contains(got, "event: snapshot") {
		t.Errorf("curl was told anew what it had:\n%s", got)
	}
}

// curlUntil runs curl until it has printed something, and returns all that it has printed until then.
func curlUntil(t *testing.T, until string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t, apiPatience), "curl", append([]string{"-sN", "--noproxy", "*"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	var seen strings.Builder
	for buffer := make([]byte, 4096); !strings.Contains(seen.String(), until); {
		n, err := out.Read(buffer)
		if err != nil {
			t.Fatalf("curl ended: %v\n%s", err, &seen)
		}
		seen.Write(buffer[:n])
	}
	return seen.String()
}
