package httpapi

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"pgregory.net/rapid"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// methods are all that the .proto files have a route for.
func methods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		rollcallv1.File_rollcall_v1_registration_proto, rollcallv1.File_rollcall_v1_discovery_proto, rollcallv1.File_rollcall_v1_control_proto,
	} {
		for n := range file.Services().Len() {
			for m := range file.Services().Get(n).Methods().Len() {
				if method := file.Services().Get(n).Methods().Get(m); proto.HasExtension(method.Options(), annotations.E_Http) {
					all = append(all, method)
				}
			}
		}
	}
	return all
}

func newAnswer(m protoreflect.MethodDescriptor) proto.Message {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return nil
	}
	return kind.New().Interface()
}

// routes are all requests that the API answers, as "METHOD /path".
func routes(a *API) []string {
	var all []string
	for _, m := range methods() {
		verb, pattern := routeOf(proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule))
		all = append(all, verb+" "+strings.NewReplacer("{service}", "shop", "{id}", "10.0.0.1:80", "{revision}", "7").Replace(pattern))
	}
	for path, r := range a.routes {
		all = append(all, r.methods[0]+" "+path)
	}
	slices.Sort(all)
	return append(all, "GET /v1/services/shop/watch")
}

func split(route string) (method, path string) {
	method, path, _ = strings.Cut(route, " ")
	return method, path
}

func TestEveryCallOfTheAPIIsReachedByItsRoute(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	for _, m := range methods() {
		verb, pattern := routeOf(proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule))
		path := strings.NewReplacer("{service}", "shop", "{id}", "10.0.0.1:80", "{revision}", "7").Replace(pattern)
		got := ask(t, verb, at+path, "")
		if got.code != http.StatusOK {
			t.Errorf("%s %s: %d %s", verb, path, got.code, got.body)
			continue
		}
		if arrived := s.last(t).method; arrived != string(m.Name()) {
			t.Errorf("%s %s reached %s, want %s", verb, path, arrived, m.Name())
		}
	}
}

// security.md's S11: each answer says what it is, and that nothing else may be made of it.
func TestEveryAnswerSaysWhatItIsAndIsTakenForNothingElse(t *testing.T) {
	t.Parallel()
	s := &script{watch: endAtOnce}
	a, at := serve(t, s, func(c *Config) { c.Origins = []string{"https://ops.example"} })
	requests := routes(a)
	for _, r := range routes(a) { // and those that are refused
		_, path := split(r)
		requests = append(requests, "PATCH "+path, "HEAD "+path, "OPTIONS "+path, "GET "+path+"/", "GET "+path+"?unknown=1")
	}
	requests = append(requests, "GET /", "GET /nowhere", "PUT /v1/nowhere", "GET /v1//services")
	for _, r := range requests {
		method, path := split(r)
		for _, headers := range [][]string{nil, {"Host: evil.example"}, {"Origin: https://evil.example"}, {"Origin: https://ops.example", "Access-Control-Request-Method: PUT"}} {
			got := ask(t, method, at+path, "", headers...)
			if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Security-Policy") == "" {
				t.Errorf("%s %v: protecting headers are missing: %v", r, headers, got.header)
			}
			kind, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
			if !slices.Contains([]string{"application/json", "text/plain", "text/event-stream"}, kind) {
				t.Errorf("%s %v: Content-Type %q", r, headers, got.header.Get("Content-Type"))
			}
			if strings.HasPrefix(got.body, "{") != (kind == "application/json") && method != "HEAD" && got.body[:1] != "[" {
				t.Errorf("%s %v: %q is called %s", r, headers, got.body, kind)
			}
			if got.code >= 300 && got.code < 400 {
				t.Errorf("%s %v: redirected to %s", r, headers, got.header.Get("Location"))
			}
		}
	}
}

func TestWhatIsNotThereOrNotForAMethodIsRefusedAsJSON(t *testing.T) {
	t.Parallel()
	a, at := serve(t, &script{})
	for _, r := range routes(a) {
		method, path := split(r)
		got := ask(t, "PATCH", at+path, "")
		allowed := strings.Split(got.header.Get("Allow"), ", ")
		if got.code != http.StatusMethodNotAllowed || got.problem(t).Code != 12 || !slices.Contains(allowed, method) || slices.Contains(allowed, "PATCH") {
			t.Errorf("PATCH %s: %d %s, allowed: %s", path, got.code, got.body, allowed)
		}
		got = ask(t, "GET", at+path+"/more/of/it", "")
		if got.code != http.StatusNotFound || got.problem(t).Code != 5 {
			t.Errorf("GET %s/more/of/it: %d %s", path, got.code, got.body)
		}
	}
}

// Each id has one path, and each path one id.
func TestAnyIDSurvivesItsPath(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	check := func(fail func(string, ...any), id string) {
		escaped := url.PathEscape(id)
		for _, path := range []string{escaped, everyByte(id)} {
			got := ask(t, "POST", at+"/v1/services/shop/instances/"+path+"/heartbeat", `{"token":"t"}`)
			if got.code != http.StatusOK {
				fail("%q as %s: %d %s", id, path, got.code, got.body)
				continue
			}
			if arrived := s.last(t).request.(*rollcallv1.HeartbeatRequest).GetId(); arrived != id {
				fail("%q as %s arrived as %q", id, path, arrived)
			}
		}
	}
	for _, id := range []string{
		"127.0.0.1:80", "[::1]:80", "a/b", "a%2Fb", "a%2fb", "a%252Fb", "a b", "a+b", "a:b", "a:heartbeat", "a;b=c", "ü", "%", "%zz", "a?b#c", "{id}", "*", "**", "...", "\x00", "\r\n",
	} {
		check(t.Errorf, id)
	}
	rapid.Check(t, func(r *rapid.T) {
		id := rapid.StringN(1, 20, -1).Filter(func(s string) bool { return s != "." && s != ".." }).Draw(r, "id")
		check(r.Fatalf, id)
	})
}

func everyByte(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteString("%" + strings.ToLower(string("0123456789ABCDEF"[c>>4])) + string("0123456789ABCDEF"[c&15]))
	}
	return b.String()
}

// Who decides by the path before or behind this server must not be led astray: security.md's S6.
func TestVariantsOfAPathGetTheSameAnswerOrNone(t *testing.T) {
	t.Parallel()
	s := &script{watch: endAtOnce}
	a, at := serve(t, s)
	for _, r := range routes(a) {
		method, path := split(r)
		want := ask(t, method, at+path, "")
		for _, same := range []string{
			strings.Replace(path, "v", "%76", 1), strings.Replace(path, "/v1/s", "/v1/%73", 1), strings.Replace(path, "10.0", "10%2e0", 1),
			strings.Replace(path, "10.0", "10%2E0", 1), strings.Replace(path, ":", "%3a", 1),
		} {
			if got := ask(t, method, at+same, ""); got.code != want.code {
				t.Errorf("%s %s: %d, but %s: %d", method, same, got.code, path, want.code)
			}
		}
		for _, none := range []string{
			"/" + path, path + "/", path + "//", strings.Replace(path, "/", "//", 2), "/." + path, "/x/.." + path, path + "/.", path + "/x/..",
			"/%2e" + path, "/x/%2e%2e" + path, path + "/x/%2E%2e", path + "%2f", path + "%2Fx", strings.ToUpper(path), strings.Replace(path, "/", "/%2f", 1),
			path + ";x=y", path + "%00", path + "%ff", path + "%20", "/%5c" + path[1:],
		} {
			raw, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			raw.Opaque = "//" + raw.Host + none // as it is, without the client's own cleaning
			request, err := http.NewRequestWithContext(t.Context(), method, at, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.URL = raw
			if got := do(t, request); got.code != http.StatusNotFound && !isValue(path, none, got.code) {
				t.Errorf("%s %s: %d %s", method, none, got.code, got.body)
			}
		}
	}
}

// isValue reports whether what was added to a path belongs to the value at its end, which is another one then.
func isValue(path, variant string, code int) bool {
	ends := strings.HasSuffix(path, "/shop") || strings.HasSuffix(path, "/10.0.0.1:80") || strings.HasSuffix(path, "/7")
	return ends && strings.HasPrefix(variant, path) && !strings.HasPrefix(variant, path+"/") && code < 500
}

func TestAQueryParameterThatIsUnknownIsRefused(t *testing.T) {
	t.Parallel()
	s := &script{watch: endAtOnce}
	a, at := serve(t, s)
	for _, r := range routes(a) {
		method, path := split(r)
		if path == "/openapi.json" || path == "/metrics" {
			continue // the one has no other contents, the other passes parameters on
		}
		got := ask(t, method, at+path+"?lables=zone%3Da", "")
		if got.code != http.StatusBadRequest || !strings.Contains(got.problem(t).Message, `"lables"`) {
			t.Errorf("%s: %d %s", r, got.code, got.body)
		}
	}
	if got := ask(t, "GET", at+"/v1/services?prefix=a&labels=zone%3Da&labels=team%3Db&pageSize=3", ""); got.code != http.StatusOK {
		t.Fatal(got.body)
	}
	want := &rollcallv1.ListServicesRequest{Prefix: "a", Labels: []string{"zone=a", "team=b"}, PageSize: 3}
	if got := s.last(t).request; !proto.Equal(got, want) {
		t.Errorf("arrived as %v", got)
	}
}

func TestThePageIsWhatIsNeitherARouteNorBelowV1(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the page at "+r.URL.Path) })
	_, at := serve(t, &script{}, func(c *Config) { c.Page = page })
	for path, want := range map[string]string{
		"/": "the page at /", "/services/shop": "the page at /services/shop", "/assets/app.js": "the page at /assets/app.js",
		"/v1": `"code":5`, "/v1/nothing": `"code":5`, "//": `"code":5`, "/livez": "", "/livez/": `"code":5`,
	} {
		if got := ask(t, "GET", at+path, ""); strings.HasPrefix(got.body, "the page") != strings.HasPrefix(want, "the page") || !strings.Contains(got.body, want) {
			t.Errorf("GET %s: %d %s, want %s", path, got.code, got.body, want)
		}
	}
	if got := ask(t, "POST", at+"/services/shop", ""); got.code != http.StatusMethodNotAllowed {
		t.Errorf("POST of a page: %d %s", got.code, got.body)
	}
}
