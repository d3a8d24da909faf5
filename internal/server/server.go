// Package server is what `rollcall server` runs: an embedded etcd, or the connection to an existing one. It knows
// nothing of flags and signals; cmd/rollcall turns those into a [Config] and a context.
package server

import (
	"context"
	"errors"
)

// Info is what there is to tell about a server that is up.
type Info struct {
	DataDir   string   // of the embedded etcd, absolute; "" with an existing cluster
	ClientURL string   // of the embedded etcd, its port the real one; "" with an existing cluster
	Endpoints []string // etcd's, for clients: host:port, or what Config.Etcd named
	Version   string   // etcd's, such as "3.7.3"; of an existing cluster's members the lowest told; "" when none told its
	Prefix    string   // where the registry's keys lie
}

// Run runs a server until ctx ends, which is a clean stop and returns nil, or until etcd ends by itself. When the
// server answers, ready is called once, unless it is nil, by Run's own goroutine.
//
// The errors to tell apart are [*rollcall.InvalidError] for each thing wrong with cfg, [*PortError], [*LockedError],
// and, with an existing cluster that gave no answer for 5 s, [*rollcall.UnreachableError]. A cluster that goes away
// later is waited for. When Run returns, nothing of it runs any more; a stop takes no longer than a few seconds,
// whatever clients do.
func Run(ctx context.Context, cfg Config, ready func(Info)) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	if ready == nil {
		ready = func(Info) {}
	}
	run := runEmbedded
	if len(cfg.Etcd) > 0 {
		run = runCluster
	}
	err := run(ctx, cfg, ready)
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return nil // stopped before it was up
	}
	return err
}

func runEmbedded(ctx context.Context, cfg Config, ready func(Info)) error {
	addr, err := probePort(ctx, cfg.ClientURL)
	if err != nil {
		return err
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer dir.close()
	etcd, err := startEtcd(ctx, etcdConfig(cfg, dir.path, addr), cfg.Logger)
	if err != nil {
		return err
	}
	defer etcd.stop()

	ready(etcd.info(cfg.Prefix))
	return etcd.wait(ctx)
}
