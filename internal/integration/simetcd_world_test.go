package integration

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

const (
	worldTokenTTL = 2 * time.Second        // of auth tokens, in all worlds
	worldProgress = 200 * time.Millisecond // between progress notifications
)

// world is an etcd of one member and the time it lives in. A scenario that holds in the real one holds in the simulated
// one. What needs more members is in simetcd_cluster_test.go.
type world interface {
	// Client returns a client of member i, or of all for -1, with a name and a password or without. It is closed with
	// the world.
	Client(t *testing.T, i int, user ...string) *clientv3.Client
	passing
	// Restart ends the process and starts it again with its data, Wipe without.
	Restart(t *testing.T)
	Wipe(t *testing.T)
	// Backup restarts etcd on a copy of its data, and returns what restarts it on that copy again.
	Backup(t *testing.T) (restore func())
	// NoSpace raises the alarm of a full disk.
	NoSpace(t *testing.T)
	// RevokeLease, DeleteKey and PutKey are what operators do. DeleteKey reports whether there was such a key.
	RevokeLease(t *testing.T, id clientv3.LeaseID) error
	DeleteKey(t *testing.T, key string) bool
	PutKey(t *testing.T, key, value string, id clientv3.LeaseID) error
	// SetPermission lets a role read and write the keys under one prefix and nothing else.
	SetPermission(t *testing.T, role, prefix string)
	// ExpireTokens makes all tokens invalid.
	ExpireTokens(t *testing.T)
}

// passing is time, real or simulated, that a scenario can let pass.
type passing interface{ Pass(d time.Duration) }

// simulated is the fake in simulated time.
type simulated struct {
	sim        *simetcd.Cluster
	clients    []*clientv3.Client
	registries []*rollcall.Registry
}

// Registry returns a registry over a client of all members, or over another one. It is closed with the world.
func (w *simulated) Registry(t *testing.T, client *clientv3.Client, opts ...rollcall.Option) *rollcall.Registry {
	t.Helper()
	if client == nil {
		client = w.Client(t, -1)
	}
	reg := rollcall.New(client, opts...)
	w.registries = append(w.registries, reg)
	return reg
}

// close ends everything of the world.
func (w *simulated) close(t *testing.T) {
	for _, reg := range w.registries {
		if err := reg.Close(bounded(t)); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	for _, c := range w.clients {
		_ = c.Close()
	}
	w.sim.Stop()
	synctest.Wait()
}

// simulate runs a scenario against the fake, in a bubble at whose end nothing of it may run.
func simulate(t *testing.T, members int, scenario func(*testing.T, *simulated), changes ...func(*simetcd.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		options := simetcd.Options{TokenTTL: worldTokenTTL, ProgressInterval: worldProgress}
		for i := range members {
			options.Members = append(options.Members, "m"+strconv.Itoa(i+1))
		}
		for _, change := range changes {
			change(&options)
		}
		w := &simulated{sim: simetcd.New(options)}
		defer w.close(t)
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

func (w *simulated) Pass(d time.Duration)    { time.Sleep(d) }
func (w *simulated) Restart(*testing.T)      { w.sim.Restart() }
func (w *simulated) Wipe(*testing.T)         { w.sim.Wipe() }
func (w *simulated) NoSpace(*testing.T)      { w.sim.NoSpace(true) }
func (w *simulated) ExpireTokens(*testing.T) { w.sim.ExpireTokens() }
func (w *simulated) Backup(*testing.T) (restore func()) {
	w.sim.Restart()
	snapshot := w.sim.Snapshot()
	return func() { w.sim.Restore(snapshot, 0) }
}

func (w *simulated) RevokeLease(_ *testing.T, id clientv3.LeaseID) error {
	return w.sim.RevokeLease(int64(id))
}

func (w *simulated) DeleteKey(_ *testing.T, key string) bool { return w.sim.DeleteKey(key) }

func (w *simulated) PutKey(_ *testing.T, key, value string, id clientv3.LeaseID) error {
	return w.sim.PutKey(key, value, int64(id))
}

func (w *simulated) SetPermission(_ *testing.T, role, prefix string) {
	w.sim.SetPermission(role, simetcd.Permission(prefix))
}

// bounded is a context for whatever must not take long in either world.
func bounded(t *testing.T) context.Context { return within(t, 10*time.Second) }
