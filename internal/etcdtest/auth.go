package etcdtest

import (
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// Security says how a [Secured] server knows its clients.
type Security struct {
	// TokenTTL is how long what a password was exchanged for is good for, in whole seconds.
	TokenTTL time.Duration

	// Signed makes the tokens signed ones (JWT), which end at their time, used or not, and which outlive a restart.
	// Simple tokens live on while they are used, and end with the server.
	Signed bool

	// Authority, when there is one, makes the server speak TLS and want a certificate of every client. Its common name
	// is then the client's user, unless the client has a token.
	Authority *Authority

	// Revoked is the file of the authority's revocation list, with HTTP on a listener of its own beside gRPC's. "" means no list.
	Revoked string
}

// Secured is an embedded etcd made for authentication, which is off until somebody turns it on, as in every new etcd.
type Secured struct {
	*Server
	authority *Authority
}

// StartSecured starts an etcd for authentication and waits until it answers. It is stopped when t ends.
func StartSecured(t testing.TB, security Security) *Secured {
	t.Helper()
	dir := t.TempDir()
	return &Secured{startServer(t, dir, security.configure(t, dir)), security.Authority}
}

// cheapest is the least cost that bcrypt knows: etcd's own default makes a login a tenth of a second of computing.
const cheapest = 4

// configure writes the files that a server of this security needs, and returns what it changes in etcd's configuration.
func (sec Security) configure(t testing.TB, dir string) func(*embed.Config) {
	t.Helper()
	provider := embed.DefaultAuthToken
	if sec.Signed {
		file := writeKey(t, filepath.Join(dir, "tokens.key"), newKey(t))
		provider = fmt.Sprintf("jwt,priv-key=%s,sign-method=ES256,ttl=%s", file, sec.TokenTTL)
	}
	var id Identity
	if sec.Authority != nil {
		id = sec.Authority.Issue(t, "etcd")
	}
	return func(cfg *embed.Config) {
		cfg.BcryptCost, cfg.AuthToken, cfg.AuthTokenTTL = cheapest, provider, uint(sec.TokenTTL/time.Second)
		if sec.Authority != nil {
			cfg.ListenClientUrls[0].Scheme, cfg.AdvertiseClientUrls[0].Scheme = "https", "https"
			cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = id.CertFile, id.KeyFile
			cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = sec.Authority.File, true
		}
		if sec.Revoked != "" {
			cfg.ClientTLSInfo.CRLFile = sec.Revoked
			cfg.ListenClientHttpUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
		}
	}
}

// Config returns the configuration of a client without a password. With an authority it has a certificate of the name.
func (s *Secured) Config(t testing.TB, name string) clientv3.Config {
	t.Helper()
	cfg := rollcall.ClientConfig(s.Endpoint())
	if s.authority != nil {
		cfg.TLS = s.authority.Client(t, name)
	}
	return cfg
}
