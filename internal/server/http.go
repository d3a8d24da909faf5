package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/rollcall-io/rollcall/internal/httpapi"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
)

// newHTTP makes the HTTP server. It has no time limit for answers, of which event streams have no end, nor one for whole requests, which
// would count for those streams, too: who serves a request bounds its body.
func newHTTP(cfg Config, handler http.Handler, certs *certificates) *http.Server {
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug), // what clients do wrong
	}
	if certs != nil {
		s.TLSConfig = certs.listener()
	}
	return s
}

// newPprof makes the server of profiles.
func newPprof(cfg Config) *http.Server {
	return newHTTP(cfg, admitted(cfg.Guard, "/debug/pprof/", httpapi.Pprof(cfg.Hosts...)), nil)
}
