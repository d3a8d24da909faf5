//go:build linux

package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// store is an etcd in a process of its own: one member, with the timing of production, that does not sync its writes. Unlike clusters of
// etcdtest there may be many at a time.
type store struct {
	*process
	endpoint string
	dir      string
}

// launchStore starts an etcd with its data in a directory.
func launchStore(dir string) (*store, error) {
	s := &store{dir: dir}
	var err error
	for range 3 {
		if s.endpoint, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.again(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// again starts it once more, after its end, on the same port and with the same data.
func (s *store) again() (err error) {
	if s.process, err = launch(storeEnv+"="+s.dir, storePortEnv+"="+s.endpoint); err != nil {
		return err
	}
	var ready bool
	if err := s.read(&ready); err != nil {
		s.end()
		return err
	}
	return nil
}

func startStore(tb testing.TB) *store {
	tb.Helper()
	s, err := launchStore(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.end() })
	return s
}

// freePort picks one below the range that outgoing connections are from: while an etcd is away, a client of it could get its port, and
// speak to itself.
func freePort() (endpoint string, err error) {
	for range 20 {
		endpoint = net.JoinHostPort("127.0.0.1", strconv.Itoa(10240+rand.IntN(32768-10240)))
		l, listenErr := new(net.ListenConfig).Listen(context.Background(), "tcp", endpoint)
		if err = listenErr; err == nil {
			return endpoint, l.Close()
		}
	}
	return "", err
}

// beStore is the program of an etcd's process.
func beStore(dir, endpoint string) {
	if err := serveStore(dir, endpoint); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
}

func serveStore(dir, endpoint string) error {
	wal.SegmentSizeBytes = 1 << 20 // not 128 MB, which etcd reserves
	client := url.URL{Scheme: "http", Host: endpoint}
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "etcd")
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.UnsafeNoFsync = true
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return err
	case <-time.After(patience):
		return fmt.Errorf("not ready after %v", patience)
	}
	if err := json.NewEncoder(os.NewFile(answersFD, "answers")).Encode(true); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}
