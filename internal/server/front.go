package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/authz"
	"github.com/rollcall-io/rollcall/internal/dns"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
	"github.com/rollcall-io/rollcall/internal/httpapi"
	"github.com/rollcall-io/rollcall/internal/ui"
	"github.com/rollcall-io/rollcall/internal/xds"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
)

// front is what stands before the store: the registry, and who serves it. A part that the configuration does not want is nil.
type front struct {
	cfg    Config
	etcd   store
	failed chan error // of a listener that no longer works; closed when none is left

	guard    *authz.Guard // nil: everybody may do everything, or what the configuration's own says
	registry *rollcall.Registry
	duties   duties
	doctor   *consulting
	api      *grpcapi.API
	xds      *xds.Server
	dns      *dns.Server // nil: none
	leaving  *leaving
	traces   *traces // nil: none
	health   *health.Server
	outer    *grpc.Server     // for the network
	inner    *grpc.Server     // for HTTP, in this process
	conn     *grpc.ClientConn // to inner
	web      *httpapi.API
	http     *http.Server
	pprof    *http.Server

	listed   atomic.Bool // the registry has been told of everything
	stopping atomic.Bool
	listing  sync.WaitGroup
	serving  sync.WaitGroup
}

// openFront begins to serve at the doors.
func openFront(cfg Config, etcd store, d *doors) (*front, error) {
	f := &front{cfg: cfg, etcd: etcd, failed: make(chan error, 4), leaving: newLeaving()}
	if err := f.openGuard(); err != nil {
		f.stop()
		return nil, err
	}
	if cfg.serves() {
		if err := f.build(d); err != nil {
			f.stop()
			return nil, err
		}
	}
	if d.grpc != nil {
		f.serve("gRPC", func() error { return f.outer.Serve(f.guarded(d.grpc)) })
	}
	if d.http != nil {
		f.serve("HTTP", func() error {
			if d.secure {
				return f.http.ServeTLS(f.guarded(d.http), "", "")
			}
			return f.http.Serve(f.guarded(d.http))
		})
	}
	if d.dns.tcp != nil {
		f.serve("DNS", func() error { return f.dns.Serve(d.dns.udp, d.dns.tcp) })
	}
	if d.pprof != nil {
		f.pprof = newPprof(f.cfg)
		f.serve("pprof", func() error { return f.pprof.Serve(d.pprof) })
	}
	return f, nil
}

// build makes everything, and serves nobody yet but HTTP's own calls.
func (f *front) build(d *doors) error {
	var certs *certificates
	if f.cfg.TLS.Cert != "" {
		var err error
		if certs, err = newCertificates(f.cfg.TLS, f.guard != nil, f.cfg.Logger); err != nil {
			return err
		}
	}
	var err error
	if f.traces, err = openTraces(context.Background(), f.cfg); err != nil {
		return err
	}
	if err := f.openRegistry(); err != nil {
		return err
	}
	if err := f.beginDuties(d); err != nil {
		return err
	}
	f.xds = xds.New(f.registry, xds.Config{Logger: f.cfg.Logger, Author: f.cfg.Guard.Author, Sight: f.cfg.Guard.Sight})
	f.doctor = &consulting{cfg: f.cfg, etcd: f.etcd, registry: f.registry, expiries: f.duties.expiries}
	f.api = grpcapi.New(f.registry, grpcapi.Config{
		Logger: f.cfg.Logger, Author: f.cfg.Guard.Author, Sight: f.cfg.Guard.Sight, Verbs: f.cfg.Guard.Verbs,
		History: f.duties.history, Operations: f.operations(),
	})
	f.health = health.NewServer()
	calls := newCalls()
	f.outer = f.newGRPC(slices.Concat(networkOptions(f.cfg, certs), f.traces.serverOptions(), calls.options(), []grpc.ServerOption{f.leaving.option()})...)
	f.inner = f.newGRPC(append(insideOptions(), f.traces.serverOptions()...)...)
	f.xds.Register(f.outer)
	f.setHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	f.listing.Go(f.awaitListed)

	pipe := bufconn.Listen(pipeSize)
	f.serve("HTTP's own calls", func() error { return f.inner.Serve(pipe) })
	if f.conn, err = dialInside(pipe); err != nil {
		return err
	}
	if err := f.buildDNS(d.dns); err != nil {
		return err
	}
	return f.buildHTTP(certs, calls)
}

// operations is what the API tells of this server.
func (f *front) operations() grpcapi.Operations {
	o := grpcapi.Operations{Version: f.cfg.Version, Started: time.Now(), Embedded: len(f.cfg.Etcd) == 0, Patient: f.doctor.input, Prefix: f.cfg.Prefix, Xds: xdsClients{f.xds}}
	if c := f.duties.checker; c != nil {
		o.Checked = func() int { return c.Stats().Checked }
	}
	if c := f.duties.canary; c != nil {
		o.Self, o.Propagation = c.instance.ID, c.message
	}
	return o
}

// openRegistry opens a registry that follows everything.
func (f *front) openRegistry() error {
	config, err := f.etcd.config()
	if err != nil {
		return err
	}
	opts := []rollcall.Option{rollcall.WithPrefix(f.cfg.Prefix), rollcall.WithFollowAll(), rollcall.WithLogger(f.cfg.Logger), rollcall.WithZone("")}
	if f.cfg.SnapshotDir != "" {
		opts = append(opts, rollcall.WithSnapshotDir(f.cfg.SnapshotDir))
	}
	opts = append(opts, f.traces.registryOptions()...)
	config.DialOptions = append(config.DialOptions, f.traces.dialOptions()...)
	f.registry, err = rollcall.Open(config, opts...)
	return err
}

// awaitListed says that we are well as soon as etcd, or a snapshot, has told of everything.
func (f *front) awaitListed() {
	everything := f.registry.WatchServices()
	defer everything.Close()
	if _, err := everything.Next(f.leaving.ctx); err != nil {
		return // stopped
	}
	f.listed.Store(true)
	if f.leaving.ctx.Err() == nil {
		f.setHealth(healthpb.HealthCheckResponse_SERVING)
	}
}

// setHealth sets the status of the server and of every service on it. After a shutdown of health it changes nothing.
func (f *front) setHealth(status healthpb.HealthCheckResponse_ServingStatus) {
	f.health.SetServingStatus("", status)
	for service := range f.outer.GetServiceInfo() {
		f.health.SetServingStatus(service, status)
	}
}

// ready is what /readyz tells. That etcd is away does not make us unready: what is known is served, and all servers at once miss it.
func (f *front) ready() []httpapi.Check {
	checks := []httpapi.Check{{Name: "registry", Err: nil}, {Name: "stopping", Err: nil}}
	if !f.listed.Load() {
		checks[0].Err = errors.New("etcd has not told of everything yet")
	}
	if f.stopping.Load() {
		checks[1].Err = errors.New("the server is about to stop")
	}
	return checks
}

// serve runs a server until it is stopped. One that ends by itself ends us all.
func (f *front) serve(name string, run func() error) {
	f.serving.Go(func() {
		err := run()
		if f.stopping.Load() || err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, grpc.ErrServerStopped) {
			return
		}
		f.cfg.Logger.Error("a listener has failed", slog.String("listener", name), slog.Any("err", err))
		f.failed <- fmt.Errorf("serve %s: %w", name, err)
	})
}

// newGRPC makes a gRPC server with all services on it. The guard comes before everything else.
func (f *front) newGRPC(opts ...grpc.ServerOption) *grpc.Server {
	var own []grpc.ServerOption
	own = append(own, opts...)
	own = append(own, f.cfg.Guard.options()...)
	own = append(own, f.api.ServerOptions()...)
	s := grpc.NewServer(own...)
	f.api.Register(s)
	registerCommon(s, f.health)
	return s
}

func (f *front) buildHTTP(certs *certificates, calls calls) error {
	var err error
	f.web, err = httpapi.New(httpapi.Config{
		Conn: f.conn, Metadata: f.cfg.Guard.metadata, Page: ui.New(ui.Config{Version: f.cfg.Version}), Admit: f.cfg.Guard.Admit, Ready: f.ready, Version: f.cfg.Version, Revision: f.cfg.Revision,
		Gatherers: gatherers(f, append(f.duties.collectors(), calls)...), Hosts: f.cfg.Hosts, Origins: f.cfg.Origins, MaxWatches: maxStreams, Logger: f.cfg.Logger,
	})
	if err != nil {
		return err
	}
	f.http = newHTTP(f.cfg, f.web, certs)
	return nil
}
