package etcdtest

import (
	"context"
	"errors"
	"fmt"
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
	"google.golang.org/grpc"
)

// A test's etcd writes kilobytes; stock etcd reserves 128 MB for each log. The variable is etcd's and read by its
// goroutines, so it is set before any of them can run.
func init() { wal.SegmentSizeBytes = 1 << 20 }

// Server is one embedded etcd. Its methods are for the goroutine of the test that started it; its clients are not bound
// to that.
type Server struct {
	t    testing.TB
	dir  string
	addr string
	etcd *embed.Etcd  // nil while stopped
	grpc *grpc.Server // etcd's own, for stopping without waiting for its clients

	configure func(*embed.Config) // what is different from the usual; may be nil
}

// Start starts an etcd and waits until it answers. It is stopped when t ends.
//
// It is a single member with a short election timeout, so that it starts fast and grants every TTL from 1 s, and it
// does not sync its writes to the disk: data survives Stop and Restart, not a crash of the machine.
func Start(t testing.TB) *Server {
	t.Helper()
	return startServer(t, t.TempDir(), nil)
}

func startServer(t testing.TB, dir string, configure func(*embed.Config)) *Server {
	t.Helper()
	s := &Server{t: t, dir: filepath.Join(dir, "etcd"), configure: configure}
	t.Cleanup(s.Stop)
	var err error
	for range 20 {
		s.addr = pickAddr()
		if err = s.start(); err == nil {
			return s
		}
		if _, taken := errors.AsType[*net.OpError](err); !taken {
			break
		}
	}
	t.Fatalf("start etcd: %v", err)
	return nil
}

// Endpoint is where clients find the server: host:port, the same for its whole life.
func (s *Server) Endpoint() string { return s.addr }

// DataDir is etcd's data directory.
func (s *Server) DataDir() string { return s.dir }

// Stop stops the server as a crash would look to its clients: connections are closed at once, whatever runs on them,
// and new ones are refused. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	if s.etcd == nil {
		return
	}
	s.grpc.Stop() // etcd's own Close would wait for open watches, up to 5 s
	s.etcd.Close()
	s.etcd, s.grpc = nil, nil
}

// Restart stops the server if it runs and starts it on the same port with the same data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	deadline := time.Now().Add(patience)
	for {
		err := s.start()
		if err == nil {
			return
		}
		if _, taken := errors.AsType[*net.OpError](err); !taken || time.Now().After(deadline) {
			s.t.Fatalf("restart etcd: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Wipe is Restart with all data gone: an empty store on the same port, whose cluster id is the same and whose revisions
// begin anew.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Stop()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatalf("wipe etcd: %v", err)
	}
	s.Restart()
}

func (s *Server) start() error {
	registered := make(chan *grpc.Server, 1)
	cfg := s.config()
	cfg.ServiceRegister = func(g *grpc.Server) { registered <- g }
	if s.configure != nil {
		s.configure(cfg)
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	select {
	case s.grpc = <-registered: // just after etcd has elected itself
		s.etcd = e
		return nil
	case err = <-e.Err():
	case <-time.After(patience):
		err = fmt.Errorf("not ready after %v", patience)
	}
	e.Server.HardStop() // Close alone waits for an etcd that is not ready, for ever
	e.Close()
	return err
}

func (s *Server) config() *embed.Config {
	client := url.URL{Scheme: "http", Host: s.addr}
	cfg := embed.NewConfig()
	cfg.Dir = s.dir
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{client}
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.BcryptCost = cheapest // a login is not what is tested
	cfg.UnsafeNoFsync = true
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return cfg
}

// pickAddr picks a loopback port that is free now. It stays below the range from which systems serve ":0" and outgoing
// connections: a port from that range could be gone when a stopped server wants it back.
func pickAddr() string {
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10240+rand.IntN(32768-10240)))
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err == nil {
			_ = l.Close()
			return addr
		}
	}
}
