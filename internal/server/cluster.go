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
	client    *clientv3.Client
	endpoints []string
	key       string // what probes read; that it exists, or may be read, does not matter
	logger    *slog.Logger
}

// runCluster checks that the cluster is there and holds on to it until ctx ends.
func runCluster(ctx context.Context, cfg Config, ready func(Info)) error {
	client, err := clientv3.New(rollcall.ClientConfig(cfg.Etcd...))
	if err != nil {
		return fmt.Errorf("make an etcd client: %w", err)
	}
	defer func() { _ = client.Close() }()
	c := &cluster{client: client, endpoints: cfg.Etcd, key: cmp.Or(cfg.Prefix, rollcall.DefaultPrefix), logger: cfg.Logger}

	if err := c.await(ctx); err != nil {
		return err
	}
	ready(Info{Endpoints: cfg.Etcd, Version: c.version(ctx), Prefix: cfg.Prefix})
	c.follow(ctx)
	return nil
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
