package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// having asks for a path as one who has what is known by an ETag.
func (w *httpServer) having(path, etag string) webAnswer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(within(w.t, apiPatience), http.MethodGet, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("If-None-Match", etag)
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

func TestAnETagStandsForEverythingThatIsToldOfAService(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	web, other := serveHTTPAPI(t, etcd), serveHTTPAPI(t, etcd)
	reg := open(t, etcd.Endpoint())
	const path = "/v1/services/shop"
	if got := web.must("GET", path, "", nil); got.header.Get("ETag") != "" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("of nothing: %v", got.header)
	}
	first := register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"}, rollcall.WithTTL(time.Minute))
	var last webAnswer
	seen := map[string]string{}
	// changed waits until who has the last answer is told another, which says something, and that one is then what he has.
	changed := func(what, says string) {
		t.Helper()
		var got webAnswer
		web.eventually(what, func() bool {
			got = web.having(path, last.header.Get("ETag"))
			return got.code == http.StatusOK && strings.Contains(got.body, says)
		})
		etag := got.header.Get("ETag")
		if before := seen[etag]; etag == "" || before != "" {
			t.Errorf("%s: the ETag %q stands for %q, too", what, etag, before)
		}
		seen[etag], last = what, got
		web.eventually(what+", and nothing more", func() bool {
			got := web.having(path, last.header.Get("ETag"))
			if got.code == http.StatusOK {
				last = got // one decision may be told in two steps
			}
			return got.code == http.StatusNotModified
		})
	}
	changed("the first", `"10.0.0.1:80"`)
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80"}, rollcall.WithTTL(time.Minute))
	changed("the second", `"10.0.0.2:80"`)
	if err := first.Update(within(t, apiPatience), func(i *rollcall.Instance) { i.Weight = 50 }); err != nil {
		t.Fatal(err)
	}
	changed("a weight", `"effectiveWeight":50`)
	web.must("PUT", path+"/overrides/10.0.0.1:80", `{"override":{"drain":true,"reason":"why","author":"jie"}}`, nil)
	changed("an override", `"why"`)
	web.must("PUT", path+"/policy", `{"policy":{"document":{"timeout":"1s","reason":"slow"}}}`, nil)
	changed("a policy", `"slow"`)

	other.eventually("another server says the same", func() bool { return other.having(path, last.header.Get("ETag")).code == http.StatusNotModified })
	register(t, reg, "cart", rollcall.Instance{Addr: "10.0.0.3:80"}, rollcall.WithTTL(time.Minute))
	web.eventually("another service", func() bool {
		return strings.Contains(web.must("GET", "/v1/services/cart", "", nil).body, "10.0.0.3:80")
	})
	if got := web.having(path, last.header.Get("ETag")); got.code != http.StatusNotModified || got.body != "" || got.header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("another service has changed: %d %v %s", got.code, got.header, got.body)
	}

	etcd.Stop()
	changed("no etcd", `"stale":{`)
	if got := web.having(path, last.header.Get("ETag")); got.code != http.StatusNotModified || got.header.Get("Rollcall-Stale-Since") == "" {
		t.Errorf("still no etcd: %d %v %s", got.code, got.header, got.body)
	}
	etcd.Restart()
	web.eventually("etcd again", func() bool {
		got := web.having(path, last.header.Get("ETag"))
		return got.code == http.StatusOK && !strings.Contains(got.body, `"stale"`) && got.header.Get("Rollcall-Stale-Since") == ""
	})
}

func TestWhoSaysOverGRPCWhatHeHasIsToldWhetherThatHolds(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveHTTPAPI(t, etcd)
	register(t, open(t, etcd.Endpoint()), "shop", rollcall.Instance{Addr: "10.0.0.1:80"}, rollcall.WithTTL(time.Minute))
	get := func(has ...string) (*rollcallv1.GetServiceResponse, string) {
		t.Helper()
		ctx, header := within(t, apiPatience), metadata.MD{}
		for _, one := range has {
			ctx = metadata.AppendToOutgoingContext(ctx, "if-none-match", one)
		}
		got, err := s.discovery.GetService(ctx, &rollcallv1.GetServiceRequest{Service: "shop"}, grpc.Header(&header))
		if err != nil {
			t.Fatal(err)
		}
		return got, strings.Join(header.Get("etag"), " ")
	}
	s.eventually("the instance", func() bool { got, _ := get(); return len(got.GetInstances()) == 1 })
	if _, etag := get(); etag != "" {
		t.Errorf("who did not ask is told the ETag %q", etag)
	}
	whole, etag := get("none")
	if etag == "" || len(whole.GetInstances()) != 1 {
		t.Fatalf("the ETag %q for %v", etag, whole)
	}
	for _, has := range [][]string{{etag}, {"*"}, {"x, " + etag}, {"x", etag}} {
		if got, again := get(has...); again != etag || got.GetService() != "" || len(got.GetInstances()) != 0 || got.GetRevision() != whole.GetRevision() {
			t.Errorf("with %q: the ETag %q for %v", has, again, got)
		}
	}
	for _, has := range []string{"", etag + "x", strings.TrimSuffix(etag, `"`)} {
		if got, again := get(has); again != etag || len(got.GetInstances()) != 1 {
			t.Errorf("with %q: the ETag %q for %v", has, again, got)
		}
	}
}

// The answer lies at hand for everybody; who may have it is asked for each.
func TestAnAnswerThatIsKeptIsRefusedToWhoMayNotRead(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all", "some")
	path := "/v1/services/cart"
	if code, text := g.ask(g.as(), "POST", path+"/instances", `{"instance":{"addr":"10.0.0.1:80"}}`, "Authorization: "+as("all")); code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	read := func(name string, headers ...string) string {
		code, text := g.ask(g.as(), "GET", path, "", append(headers, "Authorization: "+as(name))...)
		return fmt.Sprint(code, " ", strings.Contains(text, "10.0.0.1:80"))
	}
	for range 2 {
		if got := read("all"); got != "200 true" {
			t.Fatalf("who may read: %s", got)
		}
	}
	if got := read("all", "If-None-Match: *"); got != "304 false" {
		t.Errorf("who may read, and has it: %s", got)
	}
	for _, headers := range [][]string{nil, {"If-None-Match: *"}} {
		if got := read("some", headers...); got != "403 false" {
			t.Errorf("who may not read, with %q: %s", headers, got)
		}
	}
}

func TestManyEventStreamsOfARealServerAreToldTheSame(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	web := serveHTTPAPI(t, etcd)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"}, rollcall.WithTTL(time.Minute))
	web.eventually("the first", func() bool {
		return strings.Contains(web.must("GET", "/v1/services/shop", "", nil).body, "10.0.0.1:80")
	})
	var all []*webEvents
	for range 20 {
		all = append(all, web.events("/v1/services/shop/watch", ""))
	}
	for _, events := range all {
		if got := events.next(); got.name != "snapshot" || got.updates() != "ADD 10.0.0.1:80" {
			t.Fatalf("%+v", got)
		}
	}
	for n := 2; n < 7; n++ {
		id := fmt.Sprintf("10.0.0.%d:80", n)
		register(t, reg, "shop", rollcall.Instance{Addr: id}, rollcall.WithTTL(time.Minute))
		var first webEvent
		for at, events := range all {
			got := events.next()
			if at == 0 {
				first = got
			}
			if got.name != "update" || got.updates() != "ADD "+id || got.id != first.id {
				t.Fatalf("stream %d: %+v, the first: %+v", at, got, first)
			}
		}
	}
}
