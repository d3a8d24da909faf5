package server

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// expiries tell when certificates expire: of each file the one that does so first. A file that cannot be read tells nothing; whoever needs it
// says so.
type expiries struct {
	files []string
	desc  *prometheus.Desc

	mu    sync.Mutex
	known map[string]expiry
}

// expiry is what a file said when it was last changed.
type expiry struct {
	stamp stamp
	at    time.Time // zero: nothing
}

func newExpiries(cfg Config) *expiries {
	e := &expiries{
		known: map[string]expiry{},
		desc: prometheus.NewDesc("rollcall_certificate_expiry_timestamp_seconds",
			"When a certificate of the server's files expires, as a Unix time; of several in a file the first that does.", []string{"file"}, nil),
	}
	for _, f := range []Files{cfg.TLS, cfg.ClientTLS, cfg.PeerTLS, cfg.EtcdTLS} {
		for _, name := range []string{f.Cert, f.CA} {
			if name != "" && !slices.Contains(e.files, name) {
				e.files = append(e.files, name)
			}
		}
	}
	return e
}

// Describe implements [prometheus.Collector].
func (e *expiries) Describe(descs chan<- *prometheus.Desc) { descs <- e.desc }

// Collect implements [prometheus.Collector].
func (e *expiries) Collect(told chan<- prometheus.Metric) {
	for _, name := range e.files {
		if at := e.of(name); !at.IsZero() {
			told <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, float64(at.Unix()), name)
		}
	}
}

// of returns when the first certificate of a file expires. The file is read again when it has changed.
func (e *expiries) of(name string) time.Time {
	info, err := os.Stat(name)
	if err != nil {
		return time.Time{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := stamp{info.ModTime(), info.Size()}
	if was, ok := e.known[name]; ok && was.stamp == now {
		return was.at
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return time.Time{}
	}
	e.known[name] = expiry{now, firstExpiry(text)}
	return e.known[name].at
}

// firstExpiry returns when the first of the certificates in a PEM text expires; zero when there is none.
func firstExpiry(text []byte) (first time.Time) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first
}
