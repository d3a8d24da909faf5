package authz

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxSPIFFE is the length of a SPIFFE id.
const maxSPIFFE = 2048

// certificateName returns who holds a certificate: by its one URI, which is a SPIFFE id of the trust domain, or else by its one DNS
// name. What is not exactly that is nobody. Its subject says nothing.
func certificateName(cert *x509.Certificate, trustDomain string) (string, error) {
	uris, names, err := alternatives(cert)
	switch {
	case err != nil:
		return "", err
	case len(uris) > 1:
		return "", fmt.Errorf("the certificate has %d URIs; it is to have one", len(uris))
	case len(uris) == 1:
		return spiffeName(uris[0], trustDomain)
	case len(names) != 1:
		return "", fmt.Errorf("the certificate has %d DNS names and no URI; it is to have one", len(names))
	}
	return dnsName(names[0])
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// The kinds of alternative names that count, in RFC 5280's numbers.
const (
	tagDNS = 2
	tagURI = 6
)

// alternatives returns what a certificate says as it says it: what the library parses has lost the letters' case and more.
func alternatives(cert *x509.Certificate) (uris, names []string, err error) {
	seen := false
	for _, e := range cert.Extensions {
		if !e.Id.Equal(subjectAltName) {
			continue
		}
		var all []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &all); err != nil || len(rest) > 0 || seen {
			return nil, nil, errors.New("the certificate's alternative names cannot be read")
		}
		seen = true
		for _, one := range all {
			switch {
			case one.Class != asn1.ClassContextSpecific:
				return nil, nil, errors.New("the certificate's alternative names cannot be read")
			case one.Tag == tagURI:
				uris = append(uris, string(one.Bytes))
			case one.Tag == tagDNS:
				names = append(names, string(one.Bytes))
			}
		}
	}
	return uris, names, nil
}

// spiffeName returns an id that is exactly as SPIFFE has it.
func spiffeName(uri, trustDomain string) (string, error) {
	if trustDomain == "" {
		return "", errors.New("the certificate has a URI, and the rules name no trust domain that it could be of")
	}
	path, ours := strings.CutPrefix(uri, "spiffe://"+trustDomain+"/")
	if !ours || len(uri) > maxSPIFFE {
		return "", fmt.Errorf("the certificate's URI %s is no SPIFFE id of %s", strconv.Quote(uri), trustDomain)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, func(r rune) bool { return r > 127 || !nameByte(byte(r)) }) {
			return "", fmt.Errorf("the certificate's URI %s is no SPIFFE id: its path is of segments of A-Z a-z 0-9 . _ -", strconv.Quote(uri))
		}
	}
	return uri, nil
}

// dnsName returns a name that has one spelling.
func dnsName(name string) (string, error) {
	if len(name) > 253 {
		return "", errors.New("the certificate's DNS name is longer than 253")
	}
	for label := range strings.SplitSeq(name, ".") {
		bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, bad) {
			return "", fmt.Errorf("the certificate's DNS name %s is not one host's, in small letters", strconv.Quote(name))
		}
	}
	return "dns:" + name, nil
}
