package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"time"
)

var certificateExpiring = newKind("certificate-expiring", "A certificate ends soon, or has ended",
	"Issue a new one and put it in place of the old; servers of rollcall and etcd read theirs again without a restart, an authority's they do not. The moment it ends, nobody who checks it connects any more.")

// CertificateFile is a file of certificates that is in use.
type CertificateFile struct {
	Path string
	Use  string // what for, such as "of the server"
}

// shown is a chain of certificates, and where it was seen.
type shown struct {
	where string
	chain []*x509.Certificate
}

var certificateCheck = check{"certificates", "when certificates end", func(ctx context.Context, p *patient) ([]Finding, error) {
	var seen []shown
	var failed error
	for _, f := range p.Certificates {
		chain, err := readChain(f.Path)
		failed = errors.Join(failed, err)
		seen = append(seen, shown{f.Path + " " + f.Use, chain})
	}
	if p.Client != nil && p.TLS != nil {
		for _, endpoint := range p.Client.Endpoints() {
			chain, err := p.chainOf(ctx, endpoint)
			failed = errors.Join(failed, err)
			seen = append(seen, shown{"shown at " + endpoint, chain})
		}
		for _, own := range p.TLS.Certificates {
			seen = append(seen, shown{"of the client of etcd", parseChain(own.Certificate)})
		}
	}
	if len(seen) == 0 {
		return nil, skip("no certificates are in use")
	}
	return judgeCertificates(seen, p.Now(), p.Thresholds), failed
}}

// judgeCertificates judges each certificate once, wherever it was seen.
func judgeCertificates(seen []shown, now time.Time, limit Thresholds) []Finding {
	var found []Finding
	judged := map[string]int{} // certificate → its finding, -1 for none
	for _, s := range seen {
		for _, cert := range s.chain {
			if n, known := judged[string(cert.Raw)]; known {
				if n >= 0 {
					found[n].Evidence = append(found[n].Evidence, "also "+s.where)
				}
				continue
			}
			judged[string(cert.Raw)] = -1
			if severity, evidence := judgeCertificate(cert, now, limit); severity > 0 {
				judged[string(cert.Raw)] = len(found)
				found = append(found, certificateExpiring.found(severity, fmt.Sprintf("%q, %s", cert.Subject.CommonName, s.where), evidence))
			}
		}
	}
	return found
}

// judgeCertificate returns how bad it is with a certificate; zero when it is well.
func judgeCertificate(cert *x509.Certificate, now time.Time, limit Thresholds) (Severity, string) {
	end := "it ends at " + cert.NotAfter.UTC().Format(time.RFC3339)
	left := cert.NotAfter.Sub(now)
	switch {
	case now.Before(cert.NotBefore):
		return Critical, "it begins only at " + cert.NotBefore.UTC().Format(time.RFC3339)
	case left <= 0:
		return Critical, end + ", " + span(-left) + " ago"
	case left <= limit.CertCritical:
		return Critical, end + ", in " + span(left)
	case left <= limit.CertWarning:
		return Warning, end + ", in " + span(left)
	}
	return 0, ""
}

// readChain reads the certificates of a PEM file; anything else in it, such as a key, is passed over.
func readChain(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ders [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			ders = append(ders, block.Bytes)
		}
	}
	chain := parseChain(ders)
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it can be read", path)
	}
	return chain, nil
}

func parseChain(ders [][]byte) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, der := range ders {
		if cert, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, cert)
		}
	}
	return chain
}

// chainOf looks at what an endpoint shows. It trusts anybody, since one that has ended is to be seen, too, and says nothing to them.
func (p *patient) chainOf(ctx context.Context, endpoint string) ([]*x509.Certificate, error) {
	u, err := url.Parse(urlOf(endpoint, true))
	if err != nil || u.Scheme != "https" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Thresholds.MemberTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	var chain []*x509.Certificate
	cfg := p.TLS.Clone()
	cfg.InsecureSkipVerify = true
	cfg.VerifyPeerCertificate = nil
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		chain = slices.Clone(s.PeerCertificates)
		return nil
	}
	if cfg.ServerName == "" {
		cfg.ServerName = u.Hostname()
	}
	if err := tls.Client(conn, cfg).HandshakeContext(ctx); err != nil && len(chain) == 0 {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	return chain, nil
}
