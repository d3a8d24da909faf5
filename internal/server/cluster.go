package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	clusterPatience = 5 * time.Second         // for a cluster to answer at the start
	tryTimeout      = 1500 * time.Millisecond // for one member to answer
	retryPause      = 100 * time.Millisecond  // between tries at the start
	probeInterval   = 3 * time.Second         // ±20 %
)

// versionFloor is the least version of etcd without known security holes that matter to a registry.
var versionFloor = [3]int{3, 6, 14}

// cluster is an existing etcd cluster.
type cluster struct {
	cfg       Config
	client    *clientv3.Client
	endpoints []string
	key       string // what probes read; that it exists, or may be read, does not matter
	logger    *slog.Logger
	lowest    string // version
}

// openCluster checks that the cluster is there. With snapshots it may also be away.
func openCluster(ctx context.Context, cfg Config) (store, error) {
	c := &cluster{cfg: cfg, endpoints: cfg.Etcd, key: cmp.Or(cfg.Prefix, rollcall.DefaultPrefix), logger: cfg.Logger}
	err := c.connect(ctx)
	if err == nil {
		err = c.await(ctx)
	}
	if errors.Is(err, rollcall.ErrUnreachable) && ctx.Err() == nil && cfg.SnapshotDir != "" {
		c.logger.Warn("etcd does not answer; starting with what was known", slog.String("dir", cfg.SnapshotDir), slog.Any("err", err))
		return c, nil
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	c.lowest = c.version(ctx)
	return c, nil
}

// connect makes the client that probes. With a user that is a login, which waits for an answer; when there is none the client is
// nobody's, and that it is refused will be answer enough.
func (c *cluster) connect(ctx context.Context) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	config.Context, config.DialTimeout = ctx, clusterPatience
	since := time.Now()
	c.client, err = clientv3.New(config)
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		if err != nil {
			return fmt.Errorf("make an etcd client: %w", err)
		}
		return nil
	}
	silent := &rollcall.UnreachableError{Endpoints: c.endpoints, Since: since, Last: err, Err: context.DeadlineExceeded}
	config.Username, config.Password = "", ""
	if c.client, err = clientv3.New(config); err != nil {
		return fmt.Errorf("make an etcd client: %w", err)
	}
	silent.Last = c.why(silent.Last)
	return silent
}

func (c *cluster) info() Info {
	return Info{Endpoints: c.endpoints, Version: c.lowest, Prefix: c.cfg.Prefix}
}

func (c *cluster) config() (clientv3.Config, error) {
	cfg := rollcall.ClientConfig(c.endpoints...)
	cfg.Username, cfg.Password = c.cfg.EtcdUser, c.cfg.EtcdPassword
	if c.cfg.EtcdTLS == (Files{}) {
		return cfg, nil
	}
	var err error
	cfg.TLS, err = c.cfg.EtcdTLS.client()
	return cfg, err
}

func (c *cluster) wait(ctx context.Context) error {
	c.follow(ctx)
	return nil
}

func (c *cluster) moveOn() {} // its leader is nothing of ours

func (c *cluster) stop() {
	if c.client != nil {
		_ = c.client.Close()
	}
}

// await waits for a first answer.
func (c *cluster) await(ctx context.Context) error {
	since := time.Now()
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	for {
		err := c.probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return &rollcall.UnreachableError{Endpoints: c.endpoints, Since: since, Last: c.why(err), Err: ctx.Err()}
		}
	}
}

// probe asks for an answer that takes a majority of the members. The client goes from one endpoint to the next, so that
// one member that hangs costs a try and no more.
func (c *cluster) probe(ctx context.Context) error {
	var err error
	for range len(c.endpoints) + 1 {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		_, err = c.client.Get(try, c.key, clientv3.WithCountOnly())
		cancel()
		if answered(err) || ctx.Err() != nil {
			break
		}
	}
	if answered(err) {
		return nil
	}
	return err
}

// why returns what hides behind a try that only ran out of time: the client waits for a connection, and does not say what
// is wrong with it.
func (c *cluster) why(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), retryPause)
	defer cancel()
	req := &pb.RangeRequest{Key: []byte(c.key), CountOnly: true}
	_, now := pb.NewKVClient(c.client.ActiveConnection()).Range(ctx, req, grpc.WaitForReady(false))
	if status.Code(now) == codes.Unavailable {
		return now
	}
	return err
}

// answered reports whether err, of a call to etcd, came from an etcd that works. A refusal is an answer.
func answered(err error) bool {
	if err == nil {
		return true
	}
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e.Code() != codes.Unavailable
	}
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.InvalidArgument:
		return true
	}
	return false
}

// version asks every member for its version, warns of what is old or silent, and returns the lowest.
func (c *cluster) version(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	versions := make([]string, len(c.endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range c.endpoints {
		wg.Go(func() {
			resp, err := c.client.Status(ctx, endpoint)
			if err != nil {
				c.logger.Warn("etcd member does not tell its version", slog.String("endpoint", endpoint), slog.Any("err", err))
				return
			}
			versions[i] = resp.Version
			c.logger.Info("etcd member answers", slog.String("endpoint", endpoint), slog.String("version", resp.Version))
			if tooOld(resp.Version) {
				c.logger.Warn("etcd is older than 3.6.14 and has known security holes; upgrade it", slog.String("endpoint", endpoint), slog.String("version", resp.Version))
			}
		})
	}
	wg.Wait()
	versions = slices.DeleteFunc(versions, func(v string) bool { return v == "" })
	if len(versions) == 0 {
		return ""
	}
	return slices.MinFunc(versions, func(a, b string) int { return slices.Compare(parseVersion(a), parseVersion(b)) })
}

func tooOld(v string) bool { return slices.Compare(parseVersion(v), versionFloor[:]) < 0 }

// parseVersion returns the numbers in a version such as 3.7.3 or 3.8.0-alpha.0; what is no version is 0.0.0.
func parseVersion(v string) []int {
	n := make([]int, 3)
	_, _ = fmt.Sscanf(v, "%d.%d.%d", &n[0], &n[1], &n[2])
	return n
}

// follow logs when the cluster goes out of reach and when it is back, until ctx ends.
func (c *cluster) follow(ctx context.Context) {
	var since time.Time // when it went out of reach; zero while it answers
	for {
		wait := time.Duration(float64(probeInterval) * (0.8 + 0.4*rand.Float64()))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		asked := time.Now()
		err := c.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && since.IsZero():
			since = asked
			c.logger.Warn("etcd is out of reach; waiting for it", slog.Any("endpoints", c.endpoints), slog.Any("err", c.why(err)))
		case err == nil && !since.IsZero():
			c.logger.Info("etcd is back", slog.Any("endpoints", c.endpoints), slog.Duration("after", time.Since(since).Round(time.Second)))
			since = time.Time{}
		}
	}
}
