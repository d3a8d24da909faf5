package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/doctor"
)

// clientPatience is what logging in to an etcd with passwords may take; without them making a client takes no time.
const clientPatience = 5 * time.Second

// usualHistory is how much of its past an etcd remembers at most before it looks as if nobody compacted it; more if it was told to.
const usualHistory = 7 * 24 * time.Hour

// consulting is what the doctor is handed: a client of etcd's, made when somebody first asks.
type consulting struct {
	cfg      Config
	etcd     store
	registry *rollcall.Registry
	expiries func() doctor.Expiries // nil: nobody counts

	mu     sync.Mutex
	client *clientv3.Client
}

// input returns what is to be looked at.
func (c *consulting) input(context.Context) (doctor.Input, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	config, err := c.etcd.config()
	if err != nil {
		return doctor.Input{}, err
	}
	if c.client == nil {
		config.DialTimeout = clientPatience
		if c.client, err = clientv3.New(config); err != nil {
			return doctor.Input{}, fmt.Errorf("look at etcd: %w", err)
		}
	}
	in := doctor.Input{
		Thresholds: doctor.Thresholds{History: max(usualHistory, 2*c.cfg.History)},
		Client:     c.client, Prefix: c.cfg.Prefix, TLS: config.TLS, Registry: c.registry, Certificates: c.cfg.certificateFiles(),
	}
	if c.expiries != nil {
		in.Expiries = c.expiries()
	}
	return in, nil
}

func (c *consulting) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		_ = c.client.Close()
	}
}

// certificateFiles are all files of certificates that a server was given.
func (c Config) certificateFiles() []doctor.CertificateFile {
	var files []doctor.CertificateFile
	add := func(path, use string) {
		if path != "" {
			files = append(files, doctor.CertificateFile{Path: path, Use: use})
		}
	}
	for _, set := range []struct {
		files Files
		whose string
	}{
		{c.TLS, "of the API"}, {c.EtcdTLS, "for the existing etcd"}, {c.ClientTLS, "of the embedded etcd's clients"}, {c.PeerTLS, "of the embedded etcd's peers"},
	} {
		add(set.files.Cert, set.whose)
		add(set.files.CA, "the authority "+set.whose)
	}
	return files
}
