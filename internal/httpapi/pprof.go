package httpapi

import (
	"net/http"
	"net/http/pprof"

	"google.golang.org/grpc/codes"
)

// Pprof returns what serves Go's profiles, for a listener of its own: who may read them reads what is in memory. Nothing but localhost
// and addresses is accepted as its name where it is on loopback, but for hosts.
func Pprof(hosts ...string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if !meant(r, hosts) {
			refuse(w, http.StatusForbidden, codes.PermissionDenied, "this server is not asked for by the name in the Host header")
			return
		}
		mux.ServeHTTP(w, r)
	})
}
