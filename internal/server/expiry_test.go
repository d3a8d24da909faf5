package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// expiring returns certificates in PEM that expire at the given times.
func expiring(t *testing.T, at ...time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, end := range at {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// told returns what a collector tells, by the value of its first label.
func told(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			values[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	return values
}

func TestTheFirstCertificateOfAFileThatExpiresIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	soon, late := time.Unix(2_000_000_000, 0), time.Unix(2_100_000_000, 0)
	own, authorities, missing := filepath.Join(dir, "own.crt"), filepath.Join(dir, "ca.crt"), filepath.Join(dir, "none.crt")
	write(t, own, expiring(t, late))
	write(t, authorities, append([]byte("of two companies\n"), expiring(t, late, soon, late)...))
	e := newExpiries(Config{TLS: Files{Cert: own, CA: authorities}, PeerTLS: Files{Cert: own, CA: missing}})
	want := map[string]float64{own: float64(late.Unix()), authorities: float64(soon.Unix())}
	if diff := cmp.Diff(want, told(t, e)); diff != "" {
		t.Errorf("expiries (-want +got):\n%s", diff)
	}

	write(t, own, expiring(t, soon, late)) // of another size
	want[own] = float64(soon.Unix())
	write(t, missing, []byte("no certificate"))
	if diff := cmp.Diff(want, told(t, e)); diff != "" {
		t.Errorf("expiries after a change (-want +got):\n%s, of %q", diff, slices.Sorted(maps.Keys(want)))
	}
}
