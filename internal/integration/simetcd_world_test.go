package integration

import (
	"context"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

const (
	worldTokenTTL = 2 * time.Second        // of auth tokens, in all worlds
	worldProgress = 200 * time.Millisecond // between progress notifications
)

// world is an etcd cluster and the time it lives in. A scenario that holds in the real one holds in the simulated one.
type world interface {
	// Client returns a client of member i, or of all for -1, with a name and a password or without. It is closed with
	// the world.
	Client(t *testing.T, i int, user ...string) *clientv3.Client
	// Pass lets time pass.
	Pass(d time.Duration)
	// Restart ends all members at once and starts them again with their data.
	Restart(t *testing.T)
	// KillLeader ends the process of the member that leads and returns its number.
	KillLeader(t *testing.T) int
	// NoSpace raises the alarm of a full disk.
	NoSpace(t *testing.T)
}

// simulated is the fake in simulated time.
type simulated struct {
	sim     *simetcd.Cluster
	clients []*clientv3.Client
}

// simulate runs a scenario against the fake, in a bubble at whose end nothing of it may run.
func simulate(t *testing.T, members int, scenario func(*testing.T, *simulated)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		options := simetcd.Options{TokenTTL: worldTokenTTL, ProgressInterval: worldProgress}
		for i := range members {
			options.Members = append(options.Members, "m"+strconv.Itoa(i+1))
		}
		w := &simulated{sim: simetcd.New(options)}
		defer func() {
			for _, c := range w.clients {
				_ = c.Close()
			}
			w.sim.Stop()
			synctest.Wait()
		}()
		scenario(t, w)
	})
}

func (w *simulated) Client(t *testing.T, i int, user ...string) *clientv3.Client {
	endpoints := w.sim.Endpoints()
	if i >= 0 {
		endpoints = endpoints[i : i+1]
	}
	cfg := rollcall.ClientConfig(endpoints...)
	cfg.DialOptions = append(cfg.DialOptions, w.sim.DialOption())
	c := worldClient(t, cfg, user)
	w.clients = append(w.clients, c)
	return c
}

func worldClient(t *testing.T, cfg clientv3.Config, user []string) *clientv3.Client {
	t.Helper()
	if len(user) > 0 {
		cfg.Username, cfg.Password = user[0], user[1]
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *simulated) Pass(d time.Duration) { time.Sleep(d) }
func (w *simulated) Restart(*testing.T)   { w.sim.Restart() }
func (w *simulated) NoSpace(*testing.T)   { w.sim.NoSpace(true) }
func (w *simulated) KillLeader(*testing.T) int {
	leader := w.sim.Leader()
	leader.Kill()
	for i, m := range w.sim.Members() {
		if m == leader {
			return i
		}
	}
	return -1
}

// real is etcd itself, embedded, with the timings that it has in production: leases depend on the election timeout.
type real struct {
	members []*realMember
}

type realMember struct {
	cfg  *embed.Config
	etcd *embed.Etcd // nil while stopped
	grpc *grpc.Server
}

// startReal starts a cluster of etcd on loopback, stopped when the test ends.
func startReal(t *testing.T, members int) *real {
	t.Helper()
	w := &real{}
	cluster := ""
	for i := range members {
		cfg := embed.NewConfig()
		cfg.Name = "m" + strconv.Itoa(i+1)
		cfg.Dir = filepath.Join(t.TempDir(), cfg.Name)
		client, peer := loopback(), loopback()
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		cfg.AuthToken, cfg.AuthTokenTTL = "simple", uint(worldTokenTTL/time.Second)
		cfg.BcryptCost = 4 // the least: passwords are not what is tested
		cfg.WatchProgressNotifyInterval = worldProgress
		cfg.UnsafeNoFsync = true
		cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		cluster += "," + cfg.Name + "=" + peer.String()
		w.members = append(w.members, &realMember{cfg: cfg})
	}
	for _, m := range w.members {
		m.cfg.InitialCluster = cluster[1:]
	}
	t.Cleanup(func() {
		for _, m := range w.members {
			m.stop()
		}
	})
	w.start(t)
	return w
}

// loopback picks an address that is free now and that nobody is given who asks for any.
func loopback() url.URL {
	for {
		addr := "127.0.0.1:" + strconv.Itoa(10240+rand.IntN(32768-10240))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return url.URL{Scheme: "http", Host: addr}
		}
	}
}

func (w *real) start(t *testing.T) {
	t.Helper()
	for _, m := range w.members {
		registered := make(chan *grpc.Server, 1)
		m.cfg.ServiceRegister = func(g *grpc.Server) { registered <- g }
		e, err := embed.StartEtcd(m.cfg)
		if err != nil {
			t.Fatal(err)
		}
		m.etcd = e
		defer func() { // members wait for one another
			select {
			case m.grpc = <-registered:
			case <-time.After(30 * time.Second):
				t.Error("etcd is not ready after 30 s")
			}
		}()
	}
}

func (m *realMember) stop() {
	if m.etcd == nil {
		return
	}
	if m.grpc != nil {
		m.grpc.Stop()
	}
	m.etcd.Close()
	m.etcd, m.grpc = nil, nil
}

func (w *real) Client(t *testing.T, i int, user ...string) *clientv3.Client {
	var endpoints []string
	for n, m := range w.members {
		if i < 0 || n == i {
			endpoints = append(endpoints, m.cfg.ListenClientUrls[0].Host)
		}
	}
	c := worldClient(t, rollcall.ClientConfig(endpoints...), user)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *real) Pass(d time.Duration) { <-time.After(d) }

func (w *real) Restart(t *testing.T) {
	t.Helper()
	for _, m := range w.members {
		m.stop()
	}
	w.start(t)
}

func (w *real) KillLeader(t *testing.T) int {
	t.Helper()
	for i, m := range w.members {
		if m.etcd != nil && m.etcd.Server.Leader() == m.etcd.Server.MemberID() {
			m.stop()
			return i
		}
	}
	t.Fatal("no member leads")
	return -1
}

func (w *real) NoSpace(t *testing.T) {
	t.Helper()
	c := w.Client(t, 0)
	_, err := pb.NewMaintenanceClient(c.ActiveConnection()).Alarm(within(t, 5*time.Second),
		&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: uint64(w.members[0].etcd.Server.MemberID()), Alarm: pb.AlarmType_NOSPACE})
	if err != nil {
		t.Fatal(err)
	}
}

// bounded is a context for whatever must not take long in either world.
func bounded(t *testing.T) context.Context { return within(t, 10*time.Second) }
