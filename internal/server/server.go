// Package server is what `rollcall server` runs: an etcd, embedded or connected to, and in front of it the API over gRPC and HTTP.
// It knows nothing of flags and signals; cmd/rollcall turns those into a [Config] and a context.
//
// From the inside out it is a store (an embedded etcd, alone or a member of a cluster, or the connection to an existing one), a
// registry that follows everything in it, and the front: a gRPC server for the network, another one that the HTTP server speaks
// to in this process, and the HTTP server.
package server

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Info is what there is to tell about a server that is up.
type Info struct {
	DataDir   string   // of the embedded etcd, absolute; "" with an existing cluster
	ClientURL string   // of the embedded etcd, its port the real one; "" with an existing cluster
	PeerURL   string   // where the other members reach the embedded etcd; "" when it is alone
	Endpoints []string // etcd's, for clients: host:port, or what Config.Etcd named
	Version   string   // etcd's, such as "3.7.3"; of an existing cluster's members the lowest told; "" when none told its
	Prefix    string   // where the registry's keys lie

	GRPC  string // where the API is served over gRPC, host:port, its port the real one; "" when it is not
	HTTP  string // the same over HTTP, as a URL
	DNS   string // where names are answered, by UDP and TCP, host:port; "" when they are not
	Pprof string // where profiles are, as a URL
}

// Run runs a server until ctx ends, which is a clean stop and returns nil, or until a part of it ends by itself. When the
// server answers, ready is called once, unless it is nil, by Run's own goroutine.
//
// The errors to tell apart are [*rollcall.InvalidError] for each thing wrong with cfg, [*PortError], [*LockedError], [*LostError],
// and, with an existing cluster that gave no answer for 5 s and no snapshots to go by, [*rollcall.UnreachableError]. A cluster that goes
// away later is waited for. When Run returns, nothing of it runs any more; a stop takes no longer than cfg.StopTimeout and a few
// seconds, whatever clients do.
func Run(ctx context.Context, cfg Config, ready func(Info)) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if ready == nil {
		ready = func(Info) {}
	}
	err := run(ctx, cfg.withDefaults(), ready)
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return nil // stopped before it was up
	}
	return err
}

func run(ctx context.Context, cfg Config, ready func(Info)) error {
	doors, err := openDoors(ctx, cfg)
	if err != nil {
		return err
	}
	defer doors.close()
	etcd, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer etcd.stop()
	front, err := openFront(cfg, etcd, doors)
	if err != nil {
		return err
	}
	defer front.stop()

	ready(doors.info(etcd.info()))
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := cfg.Supervisor.supervise(running, front)
	defer cfg.Supervisor.stopping(cfg)
	defer silence()
	go func() { // ends with the front
		if err, ended := <-front.failed; ended {
			cancel(err)
		}
	}()
	if err := etcd.wait(running); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return context.Cause(running)
	}
	return nil
}

// store is the etcd that all else stands on.
type store interface {
	info() Info

	// config is for clients in this process.
	config() (clientv3.Config, error)

	// wait returns nil when ctx ends, and an error when etcd does.
	wait(ctx context.Context) error

	// moveOn lets another member lead, before it must; it takes 2 s at most.
	moveOn()

	stop()
}

func openStore(ctx context.Context, cfg Config) (store, error) {
	if len(cfg.Etcd) > 0 {
		return openCluster(ctx, cfg)
	}
	return openEmbedded(ctx, cfg)
}

func openEmbedded(ctx context.Context, cfg Config) (store, error) {
	addr, err := probePort(ctx, cfg.ClientURL)
	if err != nil {
		return nil, err
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	etcd, err := startEtcd(ctx, cfg, etcdConfig(cfg, dir.path, addr))
	if err != nil {
		dir.close()
		return nil, err
	}
	etcd.dir = dir
	return etcd, nil
}
