package integration

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// orders are the commands for a user who is known by certificate and may do everything with one service.
var orders = []string{
	"role add orders", "role grant-permission orders readwrite rollcall/services/orders/ --prefix",
	"user add orders --no-password", "user grant-role orders orders",
}

func TestACertificateIsEnoughForAsLongAsItTakes(t *testing.T) {
	t.Parallel()
	etcd, root := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL, Authority: etcdtest.NewAuthority(t)}, orders...)
	var seen traffic
	reg := openAs(t, seen.of(etcd.Config(t, "orders")))
	began := time.Now()
	r := register(t, reg, "orders", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(rollcall.MinTTL))
	w := watch(t, reg, "orders")
	until(t, w, 10*time.Second, "the instance", hasIDs("10.0.0.1:1"))
	const key = "rollcall/services/orders/10.0.0.1:1"
	healed := func(when string) {
		t.Helper()
		until(t, w, 8*time.Second, "the key, put back "+when, madeAfter("10.0.0.1:1", remove(t, root, key)))
	}
	healed("at first")
	<-time.After(tokenTTL + time.Second)
	healed("longer after than a token lives")
	ctl(t, root, "role add another") // what etcd checks requests by has changed
	healed("after somebody's permissions changed")

	etcd.Restart()
	healed("after a restart")
	late := watch(t, openAs(t, etcd.Config(t, "orders")), "orders")
	until(t, late, 10*time.Second, "the instance, in another registry", hasIDs("10.0.0.1:1"))
	if err := r.Drain(within(t, 10*time.Second)); err != nil {
		t.Errorf("Drain: %v", err)
	}
	mustEqual(t, "logins", seen.since(began), 0)
	mustEqual(t, "deletions, ever", deletedKeys(t, root), []string{key, key, key, key})
	if err := reg.Close(within(t, 10*time.Second)); err != nil {
		t.Errorf("close: %v", err)
	}
	mustEqual(t, "keys left", len(keys(t, root, "rollcall/")), 0)
}

func TestACertificateThatWillNotDoIsToldAsWhatItIs(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	etcd, _ := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL, Authority: authority}, orders...)
	stranger := etcdtest.NewAuthority(t)
	for name, c := range map[string]struct {
		tls  func(*tls.Config) *tls.Config
		is   error
		says string
	}{
		"no TLS": {func(*tls.Config) *tls.Config { return nil }, rollcall.ErrUnreachable, "error reading server preface"},
		"no certificate": {func(c *tls.Config) *tls.Config {
			return &tls.Config{RootCAs: c.RootCAs}
		}, rollcall.ErrUnreachable, "tls: certificate required"},
		"a stranger's certificate": {func(c *tls.Config) *tls.Config {
			return &tls.Config{RootCAs: c.RootCAs, Certificates: stranger.Client(t, "orders").Certificates}
		}, rollcall.ErrUnreachable, "tls: unknown certificate authority"},
		"an etcd that is a stranger": {func(c *tls.Config) *tls.Config {
			return &tls.Config{RootCAs: stranger.Client(t, "orders").RootCAs, Certificates: c.Certificates}
		}, rollcall.ErrUnreachable, "x509: certificate signed by unknown authority"},
		"a name that is no user's": {func(*tls.Config) *tls.Config {
			return authority.Client(t, "nobody")
		}, rollcall.ErrPermissionDenied, "orders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := etcd.Config(t, "orders")
			cfg.TLS = c.tls(cfg.TLS)
			reg := openAs(t, cfg)
			// Now and then a try fails before it has heard what etcd does not like.
			eventually(t, 10*time.Second, c.says, func() bool {
				_, err := reg.Register(within(t, 500*time.Millisecond), "orders", rollcall.Instance{Addr: "10.0.0.1:1"})
				if !errors.Is(err, c.is) {
					t.Fatalf("Register: %v", err)
				}
				return strings.Contains(err.Error(), c.says)
			})
		})
	}
}
