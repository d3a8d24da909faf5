package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// One service is for whoever has the certificate, another for whoever has none.
const xdsRules = `
rules:
- {identities: ["dns:caller.example"], verbs: [read], services: [closed]}
- {identities: [anonymous], verbs: [read], services: [open]}
`

// keep writes a certificate and its key to files.
func (g *authzServer) keep(name string, cert tls.Certificate) (certFile, keyFile string) {
	g.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		g.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(g.dir, name+".crt"), filepath.Join(g.dir, name+".key")
	replace(g.t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	replace(g.t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	return certFile, keyFile
}

// tunnel speaks TLS to the server for clients on this machine that cannot, as a proxy of theirs does.
func (g *authzServer) tunnel(certs ...tls.Certificate) (addr string) {
	g.t.Helper()
	lis, err := new(net.ListenConfig).Listen(g.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	out := tls.Dialer{Config: &tls.Config{RootCAs: g.ca.pool, Certificates: certs, NextProtos: []string{"h2"}}}
	ctx, end := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { pass(ctx, in, &out, g.grpc) })
		}
	})
	g.t.Cleanup(func() {
		end()
		_ = lis.Close()
		wg.Wait()
	})
	return lis.Addr().String()
}

// pass passes on what comes, both ways, until either side or the context ends.
func pass(ctx context.Context, in net.Conn, dialer *tls.Dialer, to string) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(ctx, func() { _ = in.Close() })()
	defer in.Close()
	out, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer end()
		_, _ = io.Copy(out, in)
	})
	wg.Go(func() {
		defer end()
		_, _ = io.Copy(in, out)
	})
	<-ctx.Done()
	_ = in.Close()
	_ = out.Close()
	wg.Wait()
}

// speaksTLS reports whether a client that was told to speak TLS to its xDS server can. Python can since 1.65, Node of today cannot; those who
// cannot have to say so at once, and to speak nothing else.
func speaksTLS(a *asker) bool {
	a.t.Helper()
	var major, minor int
	_, err := fmt.Sscanf(a.version, "gRPC %d.%d", &major, &minor)
	if a.language == "Go" || a.language == "Python" && err == nil && (major > 1 || minor >= 65) {
		return true
	}
	refused := a.begin("open", xdsPatience)()
	a.t.Logf("%s, %s, cannot speak TLS to its xDS server: %v", a.language, a.version, refused)
	if refused.code != "UNAVAILABLE" || refused.took > 5*time.Second {
		a.t.Errorf("a call of a client that cannot speak TLS: %s, %v", refused.code, refused.loss)
	}
	return false
}

// What anybody is told goes by the certificate of the connection: his own client's, where that can show one, else that of a tunnel. What
// he may not see is to him as what nobody registered.
func TestGoPythonAndNodeAreToldOfTheServicesThatTheirIdentityMayRead(t *testing.T) {
	t.Parallel()
	runtimes := xdsRuntimes(t)
	g := serveGuarded(t, xdsRules, "all")
	reg := open(t, g.etcd.Endpoint())
	addrs := map[string]string{"closed": serveMoody(t, reg, "closed", 0).addr, "open": serveMoody(t, reg, "open", 0).addr}
	caller := g.ca.holder("caller.example")
	certFile, keyFile := g.keep("caller", caller)
	callers := []struct {
		flags     []string
		certs     []tls.Certificate
		sees, not string
	}{
		{[]string{"--tls-cert", certFile, "--tls-key", keyFile}, []tls.Certificate{caller}, "closed", "open"},
		{nil, nil, "open", "closed"},
	}
	for _, r := range runtimes {
		t.Run(r.language, func(t *testing.T) {
			t.Parallel()
			byTLS := []string{"--server", g.grpc, "--tls-ca", filepath.Join(g.dir, "authority.crt")}
			able := speaksTLS(r.ask(t, bootstrapOf(t, byTLS...)))
			for _, who := range callers {
				flags := append(slices.Clone(byTLS), who.flags...)
				if !able {
					flags = []string{"--server", g.tunnel(who.certs...)}
				}
				r.ask(t, bootstrapOf(t, flags...)).wantSight(who.sees, addrs[who.sees], who.not)
			}
		})
	}
}

// wantSight wants calls of one service to be answered, and those of another to fail as if there were none.
func (a *asker) wantSight(seen, addr, hidden string) {
	a.t.Helper()
	if o := a.begin(seen, xdsPatience)(); o.code != "OK" || o.who != addr {
		a.t.Errorf("a call of %s, which may be read: %s by %s, %v", seen, o.code, o.who, o.loss)
	}
	const unknown = "nobody"
	toHidden, toNobody := a.begin(hidden, xdsPatience)(), a.begin(unknown, xdsPatience)()
	for _, o := range []fate{toHidden, toNobody} {
		if o.code != "UNAVAILABLE" || o.took > 5*time.Second {
			a.t.Errorf("a call of what may not be read, or is not there: %s by %s, %v", o.code, o.who, o.loss)
		}
	}
	if got, want := strings.ReplaceAll(toHidden.text, hidden, unknown), toNobody.text; got != want {
		a.t.Errorf("a call of a hidden service fails with %q, and one of an unknown name with %q", got, want)
	}
}
