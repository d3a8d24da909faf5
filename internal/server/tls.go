package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// Files are certificates in files, as PEM.
type Files struct {
	Cert string // shown to the other side
	Key  string // of Cert
	CA   string // the authorities that the other side's certificate must be from
}

// validatePair refuses a certificate without its key.
func (f Files) validatePair(field string) error {
	switch {
	case f.Cert != "" && f.Key == "":
		return invalid(field+".Key", `""`, "a certificate and its key come together")
	case f.Cert == "" && f.Key != "":
		return invalid(field+".Cert", `""`, "a certificate and its key come together")
	}
	return nil
}

// validateMutual wants all of them.
func (f Files) validateMutual(field string) error {
	var errs []error
	for _, part := range []struct{ name, value string }{{"Cert", f.Cert}, {"Key", f.Key}, {"CA", f.CA}} {
		if part.value == "" {
			errs = append(errs, invalid(field+"."+part.name, strconv.Quote(part.value), "a certificate, its key and the authority of the others' come together"))
		}
	}
	return errors.Join(errs...)
}

// mutual is for an etcd that shows a certificate, and wants one that is from the authority.
func (f Files) mutual() transport.TLSInfo {
	return transport.TLSInfo{CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, ClientCertAuth: true, MinVersion: tls.VersionTLS12}
}

// client returns how to speak to an etcd that has a certificate. Our own is read anew for each connection.
func (f Files) client() (*tls.Config, error) {
	cfg, err := transport.TLSInfo{CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, MinVersion: tls.VersionTLS12}.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("certificates for etcd: %w", err)
	}
	return cfg, nil
}

// itself returns how a server speaks to the etcd inside it, wherever that listens: by the certificate that it knows, not by a name.
func (f Files) itself() (*tls.Config, error) {
	cfg, err := f.client()
	if err != nil {
		return nil, err
	}
	cfg.InsecureSkipVerify = true // for the names in it, which are others' way to find it; VerifyConnection wants the very certificate
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return err
		}
		if len(s.PeerCertificates) == 0 || !slices.Equal(s.PeerCertificates[0].Raw, own.Certificate[0]) {
			return errors.New("what listens there does not show our own certificate")
		}
		return nil
	}
	return cfg, nil
}

// certificates are Files in use by a listener, read again when they change.
type certificates struct {
	files    Files
	optional bool // clients may come without a certificate: somebody else asks who they are
	logger   *slog.Logger

	mu     sync.Mutex
	stamps [3]stamp    // of the files as they were read last, whether that went well or not
	config *tls.Config // as of the last time it went well
}

// stamp changes when a file does.
type stamp struct {
	at   time.Time
	size int64
}

// newCertificates reads the files for the first time.
func newCertificates(f Files, optional bool, logger *slog.Logger) (*certificates, error) {
	c := &certificates{files: f, optional: optional, logger: logger, stamps: f.stamps()}
	var err error
	if c.config, err = c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// listener returns the configuration of a listener, which is always as fresh as the files.
func (c *certificates) listener() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil },
	}
}

// current goes on with what was read before when the files cannot be read, as in the middle of their replacement.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.files.stamps()
	if now == c.stamps {
		return c.config
	}
	c.stamps = now
	fresh, err := c.read()
	if err != nil {
		c.logger.Warn("cannot read the new certificates, going on with those before", slog.Any("err", err))
		return c.config
	}
	c.logger.Info("certificates were replaced", slog.String("cert", c.files.Cert))
	c.config = fresh
	return fresh
}

func (c *certificates) read() (*tls.Config, error) {
	cfg, err := c.files.server()
	if err == nil && c.optional && cfg.ClientAuth == tls.RequireAndVerifyClientCert {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, err
}

func (f Files) stamps() (all [3]stamp) {
	for i, name := range []string{f.Cert, f.Key, f.CA} {
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return all
}

// server reads the files.
func (f Files) server() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and its key: %w", f.Cert, err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if f.CA == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !cfg.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authority %s: there is no certificate in it", f.CA)
	}
	return cfg, nil
}
