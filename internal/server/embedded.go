package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

const (
	// electionPatience bounds the wait for an etcd that has read its data to elect itself, which takes a second.
	electionPatience = time.Minute

	// stopGrace is what calls under way have to finish when etcd stops; watches and heartbeats would never do.
	stopGrace = 500 * time.Millisecond
)

// EtcdVersion returns the version of the etcd that can be embedded, such as "3.7.3".
func EtcdVersion() string { return version.Version }

// embedded is an etcd in this process.
type embedded struct {
	etcd     *embed.Etcd
	grpc     *grpc.Server // etcd's own
	stopping atomic.Bool
}

// probePort finds out, before anything else is touched, whether there is somewhere to listen, and with port 0, where.
func probePort(ctx context.Context, clientURL string) (addr string, err error) {
	u, err := url.Parse(clientURL)
	if err != nil {
		return "", fmt.Errorf("parse client URL: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", u.Host)
	if err != nil {
		return "", &PortError{Addr: u.Host, Err: err}
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return "", fmt.Errorf("probe %s: %w", u.Host, err)
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// etcdConfig configures an etcd of one member, alone: it has no peer listener. It syncs every write to the disk, and its
// stock election timeout of 1 s grants every TTL from 2 s.
func etcdConfig(cfg Config, dir, addr string) *embed.Config {
	client := url.URL{Scheme: "http", Host: addr}
	e := embed.NewConfig()
	e.Name = "rollcall"
	e.InitialCluster = e.InitialClusterFromName(e.Name)
	e.Dir = dir
	e.ListenPeerUrls = nil
	e.ListenClientUrls = []url.URL{client}
	e.AdvertiseClientUrls = []url.URL{client}
	e.EnableGRPCGateway = false
	e.AutoCompactionMode = embed.CompactorModePeriodic
	e.AutoCompactionRetention = cfg.History.String()
	e.QuotaBackendBytes = cfg.QuotaBytes
	return e
}

// startEtcd starts an etcd and waits until it answers, or until ctx ends: then it returns no etcd.
func startEtcd(ctx context.Context, cfg *embed.Config, logger *slog.Logger) (*embedded, error) {
	e := new(embedded)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcdLogger(logger, &e.stopping))
	registered := make(chan *grpc.Server, 1)
	cfg.ServiceRegister = func(s *grpc.Server) { registered <- s }
	var err error
	e.etcd, err = embed.StartEtcd(cfg)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "listen" {
		return nil, &PortError{Addr: cfg.ListenClientUrls[0].Host, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	late := time.NewTimer(electionPatience)
	defer late.Stop()
	select {
	case e.grpc = <-registered: // the last thing etcd does before it serves
		return e, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case err = <-e.etcd.Err():
	case <-e.etcd.Server.StopNotify():
		err = errors.New("it ended at once; its log says why")
	case <-late.C:
		err = fmt.Errorf("no leader after %v; does the directory belong to a member of a larger cluster?", electionPatience)
	}
	e.stopping.Store(true)
	e.etcd.Server.HardStop() // Close alone waits for an etcd without a leader to serve, for ever
	e.etcd.Close()
	return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
}

func (e *embedded) info(prefix string) Info {
	cfg := e.etcd.Config()
	client := cfg.ListenClientUrls[0]
	return Info{
		DataDir:   cfg.Dir,
		ClientURL: client.String(),
		Endpoints: []string{client.Host},
		Version:   EtcdVersion(),
		Prefix:    prefix,
	}
}

// wait returns nil when ctx ends, and an error when etcd does.
func (e *embedded) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.etcd.Err():
		if err != nil {
			return fmt.Errorf("etcd ended: %w", err)
		}
	case <-e.etcd.Server.StopNotify():
	}
	return errors.New("etcd ended by itself; its log says why")
}

// stop ends the calls of clients, then etcd. etcd's own Close would wait 7 s for open watches.
func (e *embedded) stop() {
	e.stopping.Store(true)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() { defer close(done); e.grpc.GracefulStop() })
	select {
	case <-done:
	case <-time.After(stopGrace):
		e.grpc.Stop()
	}
	wg.Wait()
	e.etcd.Close()
}
