package server

import (
	"net"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall/internal/authz"
)

// openGuard puts the guard that the configuration asks for before everything that is served.
func (f *front) openGuard() error {
	if f.cfg.Authz == "" {
		return nil
	}
	g, err := authz.New(authz.Config{Rules: f.cfg.Authz, Tokens: f.cfg.AuthzTokens, Inside: FromHTTP, Logger: f.cfg.Logger})
	if err != nil {
		return err
	}
	f.guard = g
	f.cfg.Guard = Guard{Unary: g.Unary, Stream: g.Stream, Author: g.Author, Metadata: g.Metadata, Sight: g.Sight, Verbs: g.Verbs, Admit: g.Admit}
	return nil
}

// guarded is a listener on which no address has more connections than the guard allows.
func (f *front) guarded(l net.Listener) net.Listener {
	if f.guard == nil {
		return l
	}
	return f.guard.Listener(l)
}

// admitted serves only whom the guard admits to a page and all below it.
func admitted(g Guard, page string, next http.Handler) http.Handler {
	if g.Admit == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.Admit(r, page)
		switch status.Code(err) {
		case codes.OK:
			next.ServeHTTP(w, r)
		case codes.Unauthenticated:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, status.Convert(err).Message(), http.StatusUnauthorized)
		case codes.ResourceExhausted:
			http.Error(w, status.Convert(err).Message(), http.StatusTooManyRequests)
		default:
			http.Error(w, status.Convert(err).Message(), http.StatusForbidden)
		}
	})
}

// validateAuthz refuses rules that cannot be used, and an etcd that is a way around them.
func (c Config) validateAuthz() []error {
	switch {
	case c.Authz == "" && c.AuthzTokens != "":
		return []error{invalid("AuthzTokens", strconv.Quote(c.AuthzTokens), "tokens say who somebody is, rules what he may do: it goes with --authz")}
	case c.Authz == "":
		return nil
	}
	var errs []error
	if err := authz.Check(c.Authz, c.AuthzTokens); err != nil {
		errs = append(errs, invalid("Authz", strconv.Quote(c.Authz), err.Error()))
	}
	if len(c.Etcd) == 0 && c.ClientTLS == (Files{}) && !c.Insecure {
		errs = append(errs, invalid("ClientURL", strconv.Quote(c.ClientURL), "an etcd that asks nobody who he is is a way around --authz: give its clients certificates (--client-cert, --client-key, --client-ca and an https:// URL), or say that it may be (--insecure)"))
	}
	return errs
}
