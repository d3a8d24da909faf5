package server

import (
	"crypto/tls"
	"testing"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// The names in a certificate say nothing about where an etcd listens for its own server, so that the certificate itself has to.
func TestAServerTakesNobodyElseForItsOwnEtcd(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	own, other := authority.Issue(t, "own"), authority.Issue(t, "other")
	files := Files{Cert: own.CertFile, Key: own.KeyFile, CA: authority.File}
	for name, tt := range map[string]struct {
		shown tls.Certificate
		want  bool
	}{"its own": {own.Certificate, true}, "another of the same authority": {other.Certificate, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{tt.shown}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			served := make(chan struct{})
			go func() {
				defer close(served)
				if conn, err := l.Accept(); err == nil {
					_ = conn.(*tls.Conn).Handshake()
					_ = conn.Close()
				}
			}()
			cfg, err := files.itself()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", l.Addr().String())
			if err == nil {
				_ = conn.Close()
			}
			if (err == nil) != tt.want {
				t.Errorf("the connection is taken: %t, %v", err == nil, err)
			}
			<-served
		})
	}
}
