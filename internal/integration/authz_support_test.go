package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/server"
)

// authority issues certificates with alternative names.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "authority"}}
	var der []byte
	der, a.key = a.sign(template, nil, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate of a template, by itself when there is no parent.
func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Minute)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue issues a certificate as the template says.
func (a *authority) issue(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, key := a.sign(template, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// holder returns a certificate with some URIs and DNS names.
func (a *authority) holder(names ...string) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "spiffe://td/admin"}}
	for _, name := range names {
		if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			template.URIs = append(template.URIs, u)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return a.issue(template)
}

// files writes a server's certificate.
func (a *authority) files(dir string) server.Files {
	a.t.Helper()
	own := a.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	f := server.Files{Cert: filepath.Join(dir, "own.crt"), Key: filepath.Join(dir, "own.key"), CA: filepath.Join(dir, "authority.crt")}
	for _, one := range []struct {
		file, kind string
		der        []byte
	}{{f.Cert, "CERTIFICATE", own.Certificate[0]}, {f.Key, "PRIVATE KEY", key}, {f.CA, "CERTIFICATE", a.cert.Raw}} {
		replace(a.t, one.file, string(pem.EncodeToMemory(&pem.Block{Type: one.kind, Bytes: one.der})))
	}
	return f
}

// replace puts a file in the place of another at once.
func replace(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// journal keeps what a server logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// audits returns the records of the audit.
func (j *journal) audits(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(j.String()) {
		one := map[string]any{}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if one["msg"] == "audit" {
			all = append(all, one)
		}
	}
	return all
}

// authzServer is a whole server with rules, in front of a real etcd, with TLS.
type authzServer struct {
	t             *testing.T
	ca            *authority
	etcd          *etcdtest.Server
	dir           string
	rules, tokens string // files
	journal       *journal
	grpc          string
	http          string
	pprof         string
}

// tokenOf is the token of a name, the same in all tests.
func tokenOf(name string) string { return name + "-" + strings.Repeat("0123456789abcdef", 3) }

// tokenFile is a file of tokens for some names.
func tokenFile(names ...string) string {
	var text strings.Builder
	for _, name := range names {
		sum := sha256.Sum256([]byte(tokenOf(name)))
		text.WriteString(name + ": " + hex.EncodeToString(sum[:]) + "\n")
	}
	return text.String()
}

// serveGuarded starts a server with some rules, and with the tokens of some names.
func serveGuarded(t *testing.T, rules string, names ...string) *authzServer {
	t.Helper()
	dir := t.TempDir()
	g := &authzServer{t: t, ca: newAuthority(t), etcd: etcdtest.Start(t), dir: dir, rules: filepath.Join(dir, "rules.yaml"), tokens: filepath.Join(dir, "tokens.yaml"), journal: &journal{}}
	replace(t, g.rules, rules)
	replace(t, g.tokens, tokenFile(names...))
	cfg := server.Config{
		Etcd: []string{g.etcd.Endpoint()}, Prefix: rollcall.DefaultPrefix, GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", PprofListen: "127.0.0.1:0",
		TLS: g.ca.files(dir), Authz: g.rules, AuthzTokens: g.tokens, StopTimeout: time.Second,
		Logger: slog.New(slog.NewJSONHandler(g.journal, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan server.Info, 1), make(chan error, 1)
	go func() { ended <- server.Run(ctx, cfg, func(i server.Info) { ready <- i }) }()
	select {
	case info := <-ready:
		g.grpc, g.http, g.pprof = info.GRPC, info.HTTP, info.Pprof
	case err := <-ended:
		t.Fatalf("the server did not start: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ends with %v", err)
		}
	})
	return g
}

// as is how somebody connects: with a certificate, or with none.
func (g *authzServer) as(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: g.ca.pool, Certificates: certs}
}

func (g *authzServer) dial(cfg *tls.Config) *grpc.ClientConn {
	g.t.Helper()
	conn, err := grpc.NewClient(g.grpc, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// bearing returns a context with an Authorization; with none for "".
func bearing(t *testing.T, authorization string) context.Context {
	t.Helper()
	ctx := within(t, apiPatience)
	if authorization != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", authorization)
	}
	return ctx
}

// client returns an HTTP client that keeps no connection.
func (g *authzServer) client(cfg *tls.Config) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: cfg},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask asks by HTTP for a path, exactly as it is; headers are "Name: value".
func (g *authzServer) ask(cfg *tls.Config, method, path, body string, headers ...string) (code int, text string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(within(g.t, apiPatience), method, g.http, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	raw, query, _ := strings.Cut(path, "?")
	r.URL.Opaque, r.URL.RawQuery = "//"+r.URL.Host+raw, query
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := g.client(cfg).Do(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, ""
	}
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

func withMetadata(ctx context.Context, name, value string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, name, value)
}
