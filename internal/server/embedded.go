package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-io/rollcall"
	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

const (
	// electionPatience bounds the wait for an etcd that is alone and has read its data to elect itself, which takes a second.
	electionPatience = time.Minute

	// clusterNotice is when a member that waits for the others says so. It waits as long as it takes: they are started one by one.
	clusterNotice = 10 * time.Second

	// movePatience is what another member has to take the lead; etcd itself would wait for 7 s.
	movePatience = 2 * time.Second

	// stopGrace is what calls under way have to finish when etcd stops; watches and heartbeats would never do.
	stopGrace = 500 * time.Millisecond
)

// EtcdVersion returns the version of the etcd that can be embedded, such as "3.7.3".
func EtcdVersion() string { return version.Version }

// embedded is an etcd in this process.
type embedded struct {
	cfg      Config
	dir      *dataDir
	etcd     *embed.Etcd
	grpc     *grpc.Server // etcd's own
	stopping atomic.Bool
	alone    atomic.Bool // nobody wanted to lead in our place
	moving   sync.WaitGroup
}

// probePort finds out, before anything else is touched, whether there is somewhere to listen, and with port 0, where.
func probePort(ctx context.Context, clientURL string) (addr string, err error) {
	u, err := url.Parse(clientURL)
	if err != nil {
		return "", fmt.Errorf("parse client URL: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", u.Host)
	if err != nil {
		return "", &PortError{Addr: u.Host, Flag: "--client-url http://host:port", Err: err}
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return "", fmt.Errorf("probe %s: %w", u.Host, err)
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// etcdConfig configures an etcd of one member, alone, which has no peer listener, or one of several. It syncs every write to the disk, and
// its stock election timeout of 1 s grants every TTL from 2 s.
func etcdConfig(cfg Config, dir, addr string) *embed.Config {
	client := url.URL{Scheme: "http", Host: addr}
	e := embed.NewConfig()
	if cfg.ClientTLS != (Files{}) {
		client.Scheme = "https"
		e.ClientTLSInfo = cfg.ClientTLS.mutual()
	}
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
	if self, member := cfg.self(); member {
		joinPeers(e, cfg, self)
	}
	return e
}

// joinPeers makes the etcd one of several.
func joinPeers(e *embed.Config, cfg Config, self Member) {
	e.Name = self.Name
	e.InitialCluster = initialCluster(cfg.Cluster)
	e.InitialClusterToken = clusterToken
	if cfg.Join {
		e.ClusterState = embed.ClusterStateFlagExisting
	}
	scheme, _, _ := strings.Cut(self.PeerURL, "://")
	e.ListenPeerUrls = []url.URL{{Scheme: scheme, Host: cfg.peerListen(self)}}
	if u, err := url.Parse(self.PeerURL); err == nil {
		e.AdvertisePeerUrls = []url.URL{*u}
	}
	if cfg.PeerTLS != (Files{}) {
		e.PeerTLSInfo = cfg.PeerTLS.mutual()
	}
}

// startEtcd starts an etcd and waits until it answers, or until ctx ends: then it returns no etcd.
func startEtcd(ctx context.Context, cfg Config, etcd *embed.Config) (*embedded, error) {
	e := &embedded{cfg: cfg}
	etcd.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcdLogger(cfg.Logger, &e.stopping))
	registered := make(chan *grpc.Server, 1)
	etcd.ServiceRegister = func(s *grpc.Server) { registered <- s }
	var err error
	e.etcd, err = embed.StartEtcd(etcd)
	if err != nil {
		return nil, startError(etcd, err)
	}
	if e.grpc, err = e.await(ctx, registered); err == nil {
		err = e.settle(ctx)
	}
	if err == nil {
		return e, nil
	}
	e.stopping.Store(true)
	e.etcd.Server.HardStop() // Close alone waits for an etcd without a leader to serve, for ever
	e.etcd.Close()
	return nil, fmt.Errorf("start etcd in %s: %w", etcd.Dir, err)
}

// await returns etcd's own server as soon as it is registered, which is the last thing etcd does before it serves.
func (e *embedded) await(ctx context.Context, registered <-chan *grpc.Server) (*grpc.Server, error) {
	patience := electionPatience
	if len(e.cfg.Cluster) > 0 {
		patience = clusterNotice
	}
	late, said := time.NewTimer(patience), false
	defer late.Stop()
	for {
		select {
		case s := <-registered:
			return s, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case err := <-e.etcd.Err():
			return nil, err
		case <-e.etcd.Server.StopNotify():
			return nil, errors.New("it ended at once; its log says why")
		case <-late.C:
			if len(e.cfg.Cluster) == 0 {
				return nil, fmt.Errorf("no leader after %v; does the directory belong to a member of a larger cluster?", electionPatience)
			}
			if !said {
				e.cfg.Logger.Warn("waiting for a majority of the cluster's members", slog.String("cluster", initialCluster(e.cfg.Cluster)))
				said = true
			}
			e.cfg.Supervisor.waiting("waiting for a majority of the cluster's members", clusterNotice)
			late.Reset(clusterNotice)
		}
	}
}

// startError says of an etcd that does not start what is known of the reason.
func startError(cfg *embed.Config, err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "listen" {
		flag := "--client-url http://host:port"
		if op.Addr != nil && len(cfg.ListenPeerUrls) > 0 && op.Addr.String() == cfg.ListenPeerUrls[0].Host {
			flag = "--peer-listen host:port"
		}
		return &PortError{Addr: cmp.Or(addrOf(op), cfg.ListenClientUrls[0].Host), Flag: flag, Err: err}
	}
	if strings.Contains(err.Error(), "has already been bootstrapped") {
		return &LostError{Path: filepath.Clean(cfg.Dir), Name: cfg.Name, Err: err}
	}
	return fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
}

func addrOf(op *net.OpError) string {
	if op.Addr == nil {
		return ""
	}
	return op.Addr.String()
}

func (e *embedded) info() Info {
	cfg := e.etcd.Config()
	client := cfg.ListenClientUrls[0]
	info := Info{
		DataDir:   cfg.Dir,
		ClientURL: client.String(),
		Endpoints: []string{client.Host},
		Version:   EtcdVersion(),
		Prefix:    e.cfg.Prefix,
	}
	if client.Scheme == "https" {
		info.Endpoints = []string{client.String()}
	}
	if self, member := e.cfg.self(); member {
		info.PeerURL = self.PeerURL
	}
	return info
}

// config is for clients in this process, which come by the network as all others do.
func (e *embedded) config() (clientv3.Config, error) {
	client := e.etcd.Config().ListenClientUrls[0]
	switch client.Hostname() {
	case "0.0.0.0":
		client.Host = net.JoinHostPort("127.0.0.1", client.Port())
	case "::":
		client.Host = net.JoinHostPort("::1", client.Port())
	}
	cfg := rollcall.ClientConfig(client.String())
	if client.Scheme == "http" {
		return cfg, nil
	}
	var err error
	cfg.TLS, err = e.cfg.ClientTLS.itself()
	return cfg, err
}

// moveOn lets another member lead: for those that are served by it that is shorter than to find out that it has gone. It does not wait long
// for one that is about to go itself, as when all are stopped at once.
func (e *embedded) moveOn() {
	moved := make(chan error, 1)
	e.moving.Go(func() { moved <- e.etcd.Server.TryTransferLeadershipOnShutdown() })
	select {
	case err := <-moved:
		if err != nil {
			e.cfg.Logger.Warn("cannot let another member lead", slog.Any("err", err))
		}
	case <-time.After(movePatience):
		e.alone.Store(true)
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
	defer e.dir.close()
	e.stopping.Store(true)
	e.stopServing()
	if e.alone.Load() {
		e.etcd.Server.HardStop() // which looks for nobody to lead once more
	}
	e.moving.Wait()
	e.etcd.Close()
}

func (e *embedded) stopServing() {
	if e.cfg.ClientTLS != (Files{}) {
		e.grpc.Stop() // with TLS it is served by net/http, and knows no other end
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	wg.Go(func() { defer close(done); e.grpc.GracefulStop() })
	select {
	case <-done:
	case <-time.After(stopGrace):
		e.grpc.Stop()
	}
}
