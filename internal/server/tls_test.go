package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/server"
)

// files copies an identity to where a server has its own, so that it can be replaced.
func files(t *testing.T, dir string, a *etcdtest.Authority, id etcdtest.Identity) server.Files {
	t.Helper()
	f := server.Files{Cert: filepath.Join(dir, "own.crt"), Key: filepath.Join(dir, "own.key"), CA: filepath.Join(dir, "authority.crt")}
	for to, from := range map[string]string{f.Cert: id.CertFile, f.Key: id.KeyFile, f.CA: a.File} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// shown returns the common name of the certificate that a listener shows.
func shown(t *testing.T, addr string, cfg *tls.Config) (string, error) {
	t.Helper()
	dialer := &tls.Dialer{Config: cfg}
	conn, err := dialer.DialContext(bounded(t), "tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestWithAnAuthorityNobodyComesInWithoutACertificate(t *testing.T) {
	t.Parallel()
	ours, foreign := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.TLS = files(t, t.TempDir(), ours, ours.Issue(t, "server"))
	cfg.GRPCListen, cfg.HTTPListen = "0.0.0.0:0", "0.0.0.0:0" // which is so allowed
	info, _ := start(t, cfg)
	grpcAddr, httpURL := loopbackOf(t, info.GRPC), "https://"+loopbackOf(t, info.HTTP[len("https://"):])

	known := ours.Client(t, "jie")
	awaitHealth(t, dial(t, grpcAddr, known), "")
	if code, body, err := get(t, httpURL+"/v1/services", known); err != nil || code != http.StatusOK {
		t.Errorf("with a certificate the answer is %d %q, %v", code, body, err)
	}
	nobody := known.Clone()
	nobody.Certificates = nil
	stranger := known.Clone()
	stranger.Certificates = []tls.Certificate{foreign.Issue(t, "jie").Certificate}
	for name, bad := range map[string]*tls.Config{"without a certificate": nobody, "with another authority's": stranger} {
		if code, _, err := get(t, httpURL+"/livez", bad); err == nil {
			t.Errorf("%s HTTP answers %d", name, code)
		}
		if err := firstBytes(t, grpcAddr, bad); err == nil {
			t.Errorf("%s gRPC takes the connection", name)
		}
	}
}

// firstBytes waits for the first of what a gRPC server sends to a connection; in TLS 1.3 a refusal comes after the handshake.
func firstBytes(t *testing.T, addr string, cfg *tls.Config) error {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(bounded(t), "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 9))
	return err
}

func TestCertificatesAreReadAgainWhenTheyAreReplaced(t *testing.T) {
	t.Parallel()
	first, second := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	dir := t.TempDir()
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.TLS = files(t, dir, first, first.Issue(t, "before"))
	info, _ := start(t, cfg)
	addrs := []string{info.GRPC, info.HTTP[len("https://"):]}
	for _, addr := range addrs {
		if name, err := shown(t, addr, first.Client(t, "jie")); err != nil || name != "before" {
			t.Fatalf("%s shows %q, %v", addr, name, err)
		}
	}
	established := dial(t, info.GRPC, first.Client(t, "jie"))
	awaitHealth(t, established, "")

	// A certificate that does not go with its key is a replacement half done.
	half := second.Issue(t, "after")
	text, err := os.ReadFile(half.CertFile)
	if err == nil {
		err = os.WriteFile(cfg.TLS.Cert, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if name, err := shown(t, addrs[0], first.Client(t, "jie")); err != nil || name != "before" {
		t.Errorf("in the middle of a replacement %q is shown, %v", name, err)
	}
	files(t, dir, second, half)
	for _, addr := range addrs {
		if name, err := shown(t, addr, second.Client(t, "jie")); err != nil || name != "after" {
			t.Errorf("%s shows %q, %v, want the new certificate", addr, name, err)
		}
	}
	if err := firstBytes(t, info.GRPC, withIdentity(second.Client(t, "jie"), first.Issue(t, "old"))); err == nil {
		t.Error("a certificate of the authority that was replaced is still good")
	}
	awaitHealth(t, established, "")
}

func withIdentity(cfg *tls.Config, id etcdtest.Identity) *tls.Config {
	cfg.Certificates = []tls.Certificate{id.Certificate}
	return cfg
}

func TestACertificateThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.TLS = server.Files{Cert: "/nowhere/own.crt", Key: "/nowhere/own.key"}
	wantText(t, refused(t, cfg), "/nowhere/own.crt")
}

func TestTheEmbeddedEtcdCanWantCertificatesAndHasTheServersOwn(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.ClientURL = "https://0.0.0.0:0"
	cfg.ClientTLS = files(t, t.TempDir(), authority, authority.Issue(t, "server"))
	info, stop := start(t, cfg)
	conn := dial(t, info.GRPC, nil)
	awaitHealth(t, conn, "")
	register(t, conn, "127.0.0.1:50051")

	endpoint := "https://" + loopbackOf(t, info.Endpoints[0][len("https://"):])
	known := rollcall.ClientConfig(endpoint)
	known.TLS = authority.Client(t, "jie")
	if err := read(t, known); err != nil {
		t.Errorf("with a certificate etcd does not answer: %v", err)
	}
	known.TLS.Certificates = nil
	if err := read(t, known); err == nil {
		t.Error("etcd answers without a certificate")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// read asks an etcd something.
func read(t *testing.T, cfg clientv3.Config) error {
	t.Helper()
	client, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = client.Get(ctx, "key")
	return err
}

func TestAnExistingClusterWithCertificatesAndPasswordsIsServed(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	etcd := etcdtest.StartSecured(t, etcdtest.Security{TokenTTL: time.Minute, Authority: authority})
	admin, err := clientv3.New(etcd.Config(t, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	enableAuth(t, admin)
	id := authority.Issue(t, "nobody")
	cfg := server.Config{
		Etcd: []string{"https://" + etcd.Endpoint()}, EtcdTLS: server.Files{Cert: id.CertFile, Key: id.KeyFile, CA: authority.File},
		EtcdUser: "root", EtcdPassword: "secret", Prefix: "here", GRPCListen: "127.0.0.1:0",
	}
	info, _ := start(t, cfg)
	conn := dial(t, info.GRPC, nil)
	awaitHealth(t, conn, "")
	register(t, conn, "127.0.0.1:50051")

	cfg.EtcdPassword = "wrong"
	err = refused(t, cfg)
	wantText(t, err, "authentication failed")
	if errors.Is(err, rollcall.ErrUnreachable) {
		t.Errorf("a refusal is taken for silence: %v", err)
	}
}
