package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
)

// A route is what is served under one path.
type route struct {
	pattern string // as metrics have it
	methods []string
	serve   http.HandlerFunc
}

var reading = []string{http.MethodGet, http.MethodHead}

// table returns what this package serves itself, under paths without variables. All else under /v1/ is the gateway's.
func (a *API) table() map[string]route {
	routes := map[string]route{}
	for path, serve := range map[string]http.HandlerFunc{
		"/livez":                 a.live,
		"/healthz":               a.live, // many restart what this says is ill; to be unready is no reason
		"/readyz":                a.ready,
		"/version":               a.version,
		"/openapi.json":          a.openAPI,
		"/metrics":               a.metrics.handler.ServeHTTP,
		"/v1/prometheus/http_sd": a.prometheus,
	} {
		routes[path] = route{path, reading, serve}
	}
	routes["/v1/history/watch"] = route{"/v1/history/watch", []string{http.MethodGet}, a.watchEvents}
	routes["/v1/watch"] = route{"/v1/watch", []string{http.MethodGet}, a.watchServices}
	return routes
}

// find returns the route of a path that [segments] took apart, and false when it is the gateway's.
func (a *API) find(segments []string) (route, bool) {
	if len(segments) == 4 && segments[0] == "v1" && segments[1] == "services" && segments[3] == "watch" {
		service := segments[2]
		return route{"/v1/services/{service}/watch", []string{http.MethodGet}, func(w http.ResponseWriter, r *http.Request) {
			a.watchService(w, r, service)
		}}, true
	}
	found, ok := a.routes["/"+strings.Join(segments, "/")]
	return found, ok
}

func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	segments, ok := segments(r.URL)
	if a.config.Page != nil && (r.URL.Path == "/" || ok && segments[0] != "v1" && !a.has(segments)) {
		a.page(w, r)
		return
	}
	if !ok {
		refuse(w, http.StatusNotFound, codes.NotFound, "there is nothing at this path")
		return
	}
	found, ok := a.find(segments)
	if !ok {
		a.gateway.ServeHTTP(w, forGateway(r, segments))
		return
	}
	a.handle(w, r, found)
}

// has reports whether there is a route of a path.
func (a *API) has(segments []string) bool {
	_, found := a.find(segments)
	return found
}

// page serves what people look at.
func (a *API) page(w http.ResponseWriter, r *http.Request) {
	a.handle(w, r, route{"/", reading, a.config.Page.ServeHTTP})
}

// handle serves what this package serves itself.
func (a *API) handle(w http.ResponseWriter, r *http.Request, found route) {
	requestOf(r.Context()).route = found.pattern
	if !slices.Contains(found.methods, r.Method) {
		notAllowed(w, found.methods)
		return
	}
	if a.config.Admit != nil {
		if err := a.config.Admit(r, found.pattern); err != nil {
			fail(w, err)
			return
		}
	}
	found.serve(w, r)
}

// segments takes a path apart, and each of its segments out of its encoding, once. There is one spelling of each path but for which
// characters are encoded: one that is empty at some place or has dots to resolve is nobody's, so that nothing before or behind
// this server can understand it in another way.
func segments(u *url.URL) ([]string, bool) {
	path, rooted := strings.CutPrefix(u.EscapedPath(), "/")
	if !rooted || u.Opaque != "" {
		return nil, false
	}
	segments := strings.Split(path, "/")
	for n, escaped := range segments {
		segment, err := url.PathUnescape(escaped)
		if err != nil || segment == "" || segment == "." || segment == ".." || !utf8.ValidString(segment) {
			return nil, false
		}
		segments[n] = segment
	}
	return segments, true
}
