package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	known := &request{route: "other"}
	out := &response{ResponseWriter: w}
	defer func() {
		if cause := recover(); cause != nil {
			a.survive(out, known.route, r.Method, cause)
		}
		a.metrics.served(known.route, r.Method, out.code(), time.Since(began))
	}()
	protect(out.Header())
	a.admit(out, r.WithContext(context.WithValue(r.Context(), requestKey{}, known)))
}

// protect says what a browser must not make of an answer: it is data, not a page.
func protect(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// admit serves a request unless it must not be here at all.
func (a *API) admit(w *response, r *http.Request) {
	if !meant(r, a.config.Hosts) {
		refuse(w, http.StatusForbidden, codes.PermissionDenied, "this server is not asked for by the name in the Host header; it can be allowed where the server is configured")
		return
	}
	if preflight := a.cors(w, r); preflight {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := a.origins.Check(r); err != nil {
		refuse(w, http.StatusForbidden, codes.PermissionDenied, "this request comes from a web page of another origin")
		return
	}
	md, err := a.metadataOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	known := requestOf(r.Context())
	known.metadata, known.has = md, strings.Join(r.Header.Values("If-None-Match"), ",")
	if a.readBody(w, r) {
		a.serve(w, r)
	}
}

// readBody reads a request's body before anything is done with it, so that one that is too large or too slow has done nothing.
func (a *API) readBody(w http.ResponseWriter, r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(a.patience)) // not every connection has one
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		_ = control.SetReadDeadline(time.Time{})
	case tooLarge:
		refuse(w, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, "the body is larger than 64 KiB")
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		refuse(w, http.StatusRequestTimeout, codes.DeadlineExceeded, "the body came too slowly")
		return false
	default:
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, "the body does not end as it should")
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// meant reports whether a request is for this server by name. A page of somebody else's whose name was made to lead to this
// machine, after the browser had loaded it, is not: its requests have that name in their Host header.
func meant(r *http.Request, hosts []string) bool {
	if len(hosts) == 0 && !onLoopback(r) {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host == "localhost" || slices.ContainsFunc(hosts, func(allowed string) bool { return strings.EqualFold(allowed, host) })
}

// onLoopback reports whether a request came in at a loopback address, or at one that nobody knows.
func onLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return true
	}
	addr, err := netip.ParseAddrPort(local.String())
	return err != nil || addr.Addr().Unmap().IsLoopback()
}

// cors tells a browser that a page of an allowed origin may have the answer. It reports whether the request only asks about that.
func (a *API) cors(w http.ResponseWriter, r *http.Request) (preflight bool) {
	if len(a.config.Origins) == 0 {
		return false
	}
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(a.config.Origins, origin) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", "ETag, Rollcall-Revision, Rollcall-Stale-Since")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE")
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, Last-Event-ID")
	w.Header().Set("Access-Control-Max-Age", "600")
	return true
}

// survive answers a request whose handler panicked. What was begun is broken off: the client must not take it for whole.
func (a *API) survive(w *response, route, method string, cause any) {
	a.metrics.panics.Inc()
	a.config.Logger.Error("serving a request panicked", "method", method, "route", route, "err", cause, "stack", string(debug.Stack()))
	if w.status == 0 {
		refuse(w, http.StatusInternalServerError, codes.Internal, "the server made a mistake; its log has more")
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
}

// response notes with what status a request was answered.
type response struct {
	http.ResponseWriter
	status int // 0: not yet
}

// WriteHeader implements [http.ResponseWriter].
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] find what can flush and has deadlines.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// code is the status that the client sees.
func (w *response) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
