package integration

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/rollcall-io/rollcall/api"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const matrixRules = `
trustDomain: td
rules:
- {identities: ["token:reader"], verbs: [read], services: [shop]}
- {identities: ["token:other"], verbs: [read, register, steer], services: [cart, shop2, "shop-*"]}
- {identities: ["token:right", "spiffe://td/right"], verbs: [read, register, steer, admin], services: [shop]}
limits: {requests: 100000}
`

// credential is how somebody comes.
type credential struct {
	name, authorization string
}

var matrix = []credential{
	{"none", ""},
	{"wrong", "Bearer " + tokenOf("nobody")},
	{"no token", "Basic cm9vdDpyb290"},
	{"reader", "Bearer " + tokenOf("reader")},
	{"other", "Bearer " + tokenOf("other")},
	{"right", "Bearer " + tokenOf("right")},
}

// wanted returns the code with which a credential is refused something of shop's, by the verb that it takes; OK when it is not.
func (c credential) wanted(verb string) codes.Code {
	switch {
	case verb == "open" || c.name == "right":
		return codes.OK
	case c.name == "reader" && (verb == "read" || verb == "list" || verb == "known"), c.name == "other" && (verb == "list" || verb == "known"):
		return codes.OK
	case c.name == "reader" || c.name == "other":
		return codes.PermissionDenied
	}
	return codes.Unauthenticated
}

// verbOf says what a method takes, by its name alone: this is the other opinion on the server's table.
func verbOf(m protoreflect.MethodDescriptor) string {
	name := string(m.Name())
	switch {
	case strings.HasPrefix(string(m.FullName()), "grpc.health."):
		return "open"
	case strings.HasPrefix(string(m.FullName()), "grpc.reflection."), name == "WaitForRevision", name == "GetCaller":
		return "known"
	case name == "ListServices", name == "WatchServices", name == "ListEvents", name == "WatchEvents", name == "ListServicesAt", name == "Diff",
		strings.HasPrefix(string(m.FullName()), "envoy."):
		return "list"
	case name == "GetStatus":
		return "change" // for admins
	case name == "AwaitClients", name == "ListLeases":
		return "read"
	case strings.HasPrefix(name, "Get"), strings.HasPrefix(name, "Watch"):
		return "read"
	}
	return "change"
}

// methodsOf returns all methods of a server, as its reflection tells.
func methodsOf(t *testing.T, conn *grpc.ClientConn) []protoreflect.MethodDescriptor {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(bearing(t, "Bearer "+tokenOf("right")))
	if err == nil {
		err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	}
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var all []protoreflect.MethodDescriptor
	for _, s := range answer.GetListServicesResponse().GetService() {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.GetName()))
		if err != nil {
			t.Fatal(err)
		}
		methods := found.(protoreflect.ServiceDescriptor).Methods()
		for n := range methods.Len() {
			all = append(all, methods.Get(n))
		}
	}
	return all
}

// requestFor is a request about the service shop.
func requestFor(m protoreflect.MethodDescriptor) proto.Message {
	if m.FullName() == "rollcall.v1.RegistrationService.Session" {
		return &rollcallv1.SessionRequest{Call: 7, Ask: &rollcallv1.SessionRequest_Register{Register: &rollcallv1.RegisterRequest{Service: "shop"}}}
	}
	msg := dynamicpb.NewMessage(m.Input())
	if f := m.Input().Fields().ByName("type_url"); f != nil { // of xDS
		msg.Set(f, protoreflect.ValueOfString("type.googleapis.com/envoy.config.listener.v3.Listener"))
		for _, name := range []protoreflect.Name{"resource_names", "resource_names_subscribe"} {
			if f := m.Input().Fields().ByName(name); f != nil {
				msg.Mutable(f).List().Append(protoreflect.ValueOfString("shop"))
			}
		}
	}
	for name, value := range map[protoreflect.Name]any{"service": "shop", "id": "10.0.0.1:1", "list_services": "", "revision": int64(1)} {
		if f := m.Input().Fields().ByName(name); f != nil && f.Message() == nil && !strings.HasPrefix(string(m.FullName()), "grpc.health.") {
			msg.Set(f, protoreflect.ValueOf(value))
		}
	}
	return msg
}

// call calls a method and returns the first answer's error.
func call(t *testing.T, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, authorization string) error {
	t.Helper()
	ctx := bearing(t, authorization)
	full := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	resp := dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return conn.Invoke(ctx, full, requestFor(m), resp)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, full)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(requestFor(m)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.RecvMsg(resp); err != nil {
		return err
	}
	if f := m.Output().Fields().ByName("failed"); f != nil && resp.Has(f) { // a session says so in an answer
		failed := resp.Get(f).Message()
		return status.Error(codes.Code(failed.Get(failed.Descriptor().Fields().ByName("code")).Int()), failed.Get(failed.Descriptor().Fields().ByName("message")).String())
	}
	return nil
}

func refusedAs(err error) codes.Code {
	if code := status.Code(err); code == codes.Unauthenticated || code == codes.PermissionDenied {
		return code
	}
	return codes.OK
}

// security.md's S5 and S10, over every method that there is.
func TestEveryMethodIsForThoseWhoMayAndForNobodyElse(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, matrixRules, "reader", "other", "right")
	conn := g.dial(g.as())
	methods := methodsOf(t, conn)
	if len(methods) < 20 {
		t.Errorf("there are only %d methods", len(methods))
	}
	for _, m := range methods {
		for _, c := range matrix {
			err := call(t, conn, m, c.authorization)
			if got, want := refusedAs(err), c.wanted(verbOf(m)); got != want {
				t.Errorf("%s with credential %s: %v, want %v: %v", m.FullName(), c.name, got, want, err)
			}
		}
		if err := call(t, g.dial(g.as(g.ca.holder("spiffe://td/right"))), m, ""); refusedAs(err) != codes.OK {
			t.Errorf("%s with a certificate: %v", m.FullName(), err)
		}
	}
}

// webRoute is one request that HTTP has an answer to.
type webRoute struct{ method, path, verb string }

// httpRoutes are all of the OpenAPI document, and those that are no API.
func httpRoutes(t *testing.T) []webRoute {
	t.Helper()
	var document struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal([]byte(api.OpenAPI()), &document); err != nil {
		t.Fatal(err)
	}
	all := []webRoute{
		{"GET", "/livez", "open"},
		{"GET", "/healthz", "open"},
		{"GET", "/readyz", "open"},
		{"GET", "/readyz?verbose", "open"},
		{"GET", "/openapi.json", "open"},
		{"GET", "/metrics", "admin"},
		{"GET", "/version", "admin"},
		{"HEAD", "/metrics", "admin"},
		{"GET", "/v1/prometheus/http_sd?service=shop", "read"},
	}
	for path, operations := range document.Paths {
		for method := range operations {
			r := webRoute{strings.ToUpper(method), strings.NewReplacer("{service}", "shop", "{id}", "10.0.0.1:1", "{revision}", "1").Replace(path), "change"}
			switch {
			case path == "/v1/history" || path == "/v1/history/watch" || path == "/v1/history/services" || path == "/v1/diff":
				r.verb = "list"
			case path == "/v1/status" || path == "/v1/doctor" || path == "/v1/xds/clients" || path == "/v1/watchers": // for admins
			case path == "/v1/services" || path == "/v1/watch" || path == "/v1/prometheus/http_sd":
				r.verb = "list"
			case path == "/v1/revision/{revision}" || path == "/v1/caller":
				r.verb = "known"
			case method == "get":
				r.verb = "read"
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b webRoute) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

func (c credential) headers() []string {
	if c.authorization == "" {
		return nil
	}
	return []string{"Authorization: " + c.authorization}
}

// judged returns what an HTTP status says of whether somebody was refused.
func judged(code int) codes.Code {
	switch code {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	}
	return codes.OK
}

// CVE-2021-29442, CNVD-2020-67618: no page is forgotten. security.md's S5.
func TestEveryRouteIsForThoseWhoMayAndForNobodyElse(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, matrixRules, "reader", "other", "right")
	routes := httpRoutes(t)
	if len(routes) < 25 {
		t.Errorf("there are only %d routes", len(routes))
	}
	for _, r := range routes {
		for _, c := range matrix {
			code, text := g.ask(g.as(), r.method, r.path, "", c.headers()...)
			if got, want := judged(code), c.wanted(r.verb); got != want {
				t.Errorf("%s %s with credential %s: %d, want %v: %s", r.method, r.path, c.name, code, want, text)
			}
		}
		if code, text := g.ask(g.as(g.ca.holder("spiffe://td/right")), r.method, r.path, ""); judged(code) != codes.OK {
			t.Errorf("%s %s with a certificate: %d %s", r.method, r.path, code, text)
		}
	}
}

func TestProfilesAreForAdminsOnly(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, matrixRules, "reader", "other", "right")
	g.http = strings.TrimSuffix(g.pprof, "/debug/pprof/")
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/pprof/symbol", "/debug//pprof/", "/", "/livez"} {
		for _, c := range matrix {
			code, text := g.ask(nil, "GET", path, "", c.headers()...)
			if got, want := judged(code), c.wanted("admin"); got != want {
				t.Errorf("%s with credential %s: %d, want %v: %.100s", path, c.name, code, want, text)
			}
		}
	}
}

// CVE-2024-10005 and Nacos' slash behind a path: security.md's S6.
func TestNoSpellingOfAPathIsAWayAround(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, matrixRules, "reader", "other", "right")
	for _, r := range httpRoutes(t) {
		path, query, _ := strings.Cut(r.path, "?")
		if query != "" {
			continue
		}
		for _, variant := range []string{
			path + "/", path + "//", "/" + path, strings.Replace(path, "/", "//", 2), "/." + path, "/x/.." + path, "/livez/.." + path, "/livez/%2e%2e" + path,
			"/livez%2f..%2f" + path[1:], path + "/.", path + "%2f", path + "%2F", path + "%00", path + "%20", path + ";x", path + "/..;/livez",
			strings.ToUpper(path), strings.Replace(path, "v", "%76", 1), strings.Replace(path, "e", "%65", 1), strings.Replace(path, "s", "%73", 1),
			strings.Replace(path, "/v1/", "/v1%2f", 1), strings.Replace(path, "/", "/%2e/", 1), strings.Replace(path, "shop", "SHOP", 1), strings.Replace(path, "shop", "%73hop", 1),
			strings.Replace(path, "shop", "shop%2f..%2fshop", 1), strings.Replace(path, "shop", "shop%00", 1), strings.Replace(path, "shop", "cart/../shop", 1),
		} {
			for _, c := range matrix[:5] {
				code, text := g.ask(g.as(), r.method, variant, "", c.headers()...)
				nowhere := code == http.StatusNotFound && !strings.Contains(text, "shop") || code == http.StatusMethodNotAllowed || code == http.StatusBadRequest || code == http.StatusNotImplemented
				if !nowhere && judged(code) != c.wanted(r.verb) && judged(code) == codes.OK {
					t.Errorf("%s %s, for %s, with credential %s: %d %s", r.method, variant, path, c.name, code, text)
				}
			}
		}
	}
}

// CVE-2021-29441, CVE-2024-10006: security.md's S5.
func TestNoHeaderIsAWayAround(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, matrixRules, "reader", "other", "right")
	claims := []string{
		"User-Agent: Nacos-Server", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1;by=127.0.0.1", "X-Forwarded-Host: localhost",
		"X-Forwarded-Client-Cert: URI=spiffe://td/right", "X-Client-Cert: right", "X-SSL-Client-Verify: SUCCESS", "X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: GET",
		"X-Original-URL: /livez", "X-Rewrite-URL: /livez", "X-Remote-User: token:right", "Remote-User: token:right", "X-Rollcall-Identity: token:right",
		"Rollcall-Certificate: spiffe://td/right", "Rollcall-Expires: 9999999999", "Rollcall-From: 127.0.0.1:1", "Rollcall-Refused: ",
		"Grpc-Metadata-Authorization: Bearer " + tokenOf("right"), "Grpc-Metadata-Rollcall-Certificate: spiffe://td/right", "Grpc-Metadata-Rollcall-Expires: 9999999999",
		"Grpcgateway-Authorization: Bearer " + tokenOf("right"), "X-Authorization: Bearer " + tokenOf("right"), "Proxy-Authorization: Bearer " + tokenOf("right"), "Cookie: token=" + tokenOf("right"),
		"serverIdentity: security", "Te: trailers", "Content-Type: application/grpc",
	}
	for _, r := range httpRoutes(t) {
		for _, c := range []credential{matrix[0], matrix[1], matrix[4]} {
			code, text := g.ask(g.as(), r.method, r.path, "", append(c.headers(), claims...)...)
			if got, want := judged(code), c.wanted(r.verb); got != want {
				t.Errorf("%s %s with credential %s: %d, want %v: %s", r.method, r.path, c.name, code, want, text)
			}
		}
	}
	// One by one, and by gRPC: what HTTP tells inside counts for nothing outside.
	conn := g.dial(g.as())
	for _, claim := range claims {
		if code, text := g.ask(g.as(), "GET", "/v1/services/shop", "", claim); code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", claim, code, text)
		}
		name, value, _ := strings.Cut(strings.ToLower(claim), ": ")
		if name == "te" || name == "content-type" || name == "user-agent" || strings.HasPrefix(name, "grpc-") {
			continue
		}
		var answer rollcallv1.GetServiceResponse
		ctx := withMetadata(bearing(t, ""), name, value)
		if err := conn.Invoke(ctx, rollcallv1.DiscoveryService_GetService_FullMethodName, &rollcallv1.GetServiceRequest{Service: "shop"}, &answer); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s as metadata: %v", claim, err)
		}
	}
	ctx := bearing(t, "")
	for name, value := range map[string]string{"rollcall-certificate": "spiffe://td/right", "rollcall-expires": "9999999999", "rollcall-from": "127.0.0.1:1"} {
		ctx = withMetadata(ctx, name, value)
	}
	if _, err := rollcallv1.NewDiscoveryServiceClient(conn).GetService(ctx, &rollcallv1.GetServiceRequest{Service: "shop"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("all that HTTP tells inside, as metadata: %v", err)
	}
	// A credential more is not a better one.
	for _, headers := range [][]string{
		{"Authorization: Bearer " + tokenOf("nobody"), "Authorization: Bearer " + tokenOf("right")},
		{"Authorization: Bearer " + tokenOf("right"), "Authorization: Bearer " + tokenOf("nobody")},
		{"Authorization: Bearer " + tokenOf("nobody") + ", Bearer " + tokenOf("right")},
	} {
		if code, _ := g.ask(g.as(), "GET", "/v1/services/shop", "", headers...); code < 400 {
			t.Errorf("%v: %d", headers, code)
		}
	}
	ctx = withMetadata(bearing(t, "Bearer "+tokenOf("nobody")), "authorization", "Bearer "+tokenOf("right"))
	if _, err := rollcallv1.NewDiscoveryServiceClient(conn).GetService(ctx, &rollcallv1.GetServiceRequest{Service: "shop"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("two Authorizations: %v", err)
	}
	// A wrong token with a good certificate is a wrong token (CVE-2023-3518: what is shown is what counts).
	if code, _ := g.ask(g.as(g.ca.holder("spiffe://td/right")), "GET", "/v1/services/shop", "", "Authorization: Bearer "+tokenOf("nobody")); code != http.StatusUnauthorized {
		t.Errorf("a wrong token and a good certificate: %d", code)
	}
}
