package authz

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// alternative is one of a certificate's alternative names, as its bytes are.
type alternative struct {
	tag  int
	text string
}

func uri(text string) alternative { return alternative{tagURI, text} }
func dns(text string) alternative { return alternative{tagDNS, text} }

var testKey = sync.OnceValues(func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })

// rawCertificate is one with any alternative names, also those that the library would not write.
func rawCertificate(tb testing.TB, commonName string, names ...alternative) *x509.Certificate {
	tb.Helper()
	var all []asn1.RawValue
	for _, n := range names {
		all = append(all, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: n.tag, Bytes: []byte(n.text)})
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName}, NotAfter: time.Now().Add(time.Hour)}
	if len(all) > 0 {
		value, err := asn1.Marshal(all)
		if err != nil {
			tb.Fatal(err)
		}
		template.ExtraExtensions = []pkix.Extension{{Id: subjectAltName, Value: value}}
	}
	private, err := testKey()
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil { // what the library refuses never comes through a handshake
		return &x509.Certificate{Extensions: template.ExtraExtensions}
	}
	return cert
}

func mustParse(tb testing.TB, text string) *rules {
	tb.Helper()
	r, err := parseRules([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func named(name, from string) *caller {
	return &caller{name: name, from: from, peer: addrOf(from)}
}
