// Package cluster runs real etcd servers as processes that can hang, be killed, be wiped, be restored, and be replaced by
// another version. It uses etcd's own client and nothing of rollcall.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// patience bounds every wait for etcd to do what it does in a second or two on an idle machine.
const patience = 60 * time.Second

// Programs are the paths of etcd's own programs.
type Programs struct {
	Etcd    string // the server
	Etcdutl string // restores snapshots; needed for nothing else
}

// Options configure a cluster.
type Options struct {
	Programs
	Members int      // how many; 0 means three
	Args    []string // further flags of each server
	Fsync   bool     // sync writes to the disk, as production does; else data survives the kill of a server only
	// Env is what the i-th member finds in its environment besides this process's; nil means nothing.
	Env func(i int) []string
	// Host says where the i-th member runs; nil means that all run on the loopback address.
	Host func(i int) Host
}

// Host is where a member runs.
type Host struct {
	IP      string
	Command func(name string, args ...string) *exec.Cmd // makes a command that runs there
}

func loopback(int) Host { return Host{IP: "127.0.0.1", Command: exec.Command} }

// Cluster is an etcd of several members. Its methods are for one goroutine, that of the test.
type Cluster struct {
	t       testing.TB
	opts    Options
	dir     string
	members []*Member
	client  *clientv3.Client
	login   clientv3.Config // with the user and the password, once etcd asks for them
}

// Start starts a cluster whose members keep their data and logs below dir, and waits until every one of them answers.
// All end when t does.
func Start(t testing.TB, dir string, opts Options) *Cluster {
	t.Helper()
	if opts.Members == 0 {
		opts.Members = 3
	}
	if opts.Host == nil {
		opts.Host = loopback
	}
	c := &Cluster{t: t, opts: opts, dir: dir}
	t.Cleanup(c.end)
	for range 20 {
		if err := c.layOut(); err != nil {
			t.Fatalf("lay out a cluster: %v", err)
		}
		err := c.launch()
		if err == nil {
			err = c.await()
		}
		if err == nil {
			return c
		}
		c.KillAll()
		// What a member has written names the ports that it had.
		c.forget()
		if !errors.Is(err, errEnded) { // else somebody has taken a port that was free a moment ago
			t.Fatalf("start a cluster: %v; the log of the first member ends with:\n%s", err, c.members[0].logTail())
		}
	}
	t.Fatalf("start a cluster: its members end at once; the log of the first ends with:\n%s", c.members[0].logTail())
	return nil
}

// layOut decides on the members and their ports.
func (c *Cluster) layOut() error {
	c.members = nil
	var all []string
	for i := range c.opts.Members {
		host := c.opts.Host(i)
		name := fmt.Sprintf("m%d", i)
		m := &Member{c: c, Name: name, host: host, program: c.opts.Etcd, dir: filepath.Join(c.dir, name), log: filepath.Join(c.dir, name+".log")}
		var err error
		if m.client, m.peer, err = freePorts(host.IP); err != nil {
			return err
		}
		all = append(all, name+"=http://"+m.peer)
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		m.all = strings.Join(all, ",")
	}
	return c.connect()
}

// connect makes the client through which the cluster is asked about itself.
func (c *Cluster) connect() error {
	if c.client != nil {
		_ = c.client.Close()
	}
	var err error
	c.client, err = c.dial(c.Endpoints()...)
	return err
}

func (c *Cluster) dial(endpoints ...string) (*clientv3.Client, error) {
	cfg := c.login
	cfg.Endpoints, cfg.Logger, cfg.DialTimeout = endpoints, zap.NewNop(), 5*time.Second
	return clientv3.New(cfg)
}

// Login has the cluster be asked about itself as a user: authentication is on from now on.
func (c *Cluster) Login(user, password string) {
	c.t.Helper()
	c.login.Username, c.login.Password = user, password
	if err := c.connect(); err != nil {
		c.t.Fatalf("log in as %s: %v", user, err)
	}
}

func (c *Cluster) end() {
	c.KillAll()
	if c.client != nil {
		_ = c.client.Close()
	}
}

// Endpoints is where clients find the members, the same for the cluster's whole life.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.client)
	}
	return all
}

// Member returns the i-th member, from 0.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// Members returns all of them.
func (c *Cluster) Members() []*Member { return c.members }

// Client returns a client of all members, which the cluster closes.
func (c *Cluster) Client() *clientv3.Client { return c.client }

// Leader returns the member that most members call their leader, and waits until there is one.
func (c *Cluster) Leader() *Member {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		votes, ids := map[uint64]int{}, map[uint64]*Member{}
		for _, m := range c.answering() {
			ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
			st, err := c.client.Status(ctx, m.client)
			cancel()
			if err == nil {
				votes[st.Leader]++
				ids[st.Header.MemberId] = m
			}
		}
		for id, n := range votes {
			if m := ids[id]; m != nil && n > len(c.members)/2 {
				return m
			}
		}
	}
	c.t.Fatalf("no leader within %v", patience)
	return nil
}

// Followers returns the members that run, do not hang and do not lead.
func (c *Cluster) Followers() []*Member {
	c.t.Helper()
	leader := c.Leader()
	var all []*Member
	for _, m := range c.answering() {
		if m != leader {
			all = append(all, m)
		}
	}
	return all
}

// Await waits until every member that runs and does not hang answers a read that takes a leader.
func (c *Cluster) Await() {
	c.t.Helper()
	if err := c.await(); err != nil {
		c.t.Fatalf("wait for the cluster: %v", err)
	}
}

func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for _, m := range c.answering() {
		if err := m.await(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// lost tells whether a member that should run has ended by itself.
func (c *Cluster) lost() bool {
	return slices.ContainsFunc(c.answering(), func(m *Member) bool {
		select {
		case <-m.ended:
			return true
		default:
			return false
		}
	})
}

// answering returns the members that run and do not hang.
func (c *Cluster) answering() []*Member {
	var up []*Member
	for _, m := range c.members {
		if m.cmd != nil && !m.hangs {
			up = append(up, m)
		}
	}
	return up
}

// KillAll kills every member that runs: a power cut.
func (c *Cluster) KillAll() {
	for _, m := range c.members {
		m.Kill()
	}
}

// StartAll starts every member that does not run, with its data, and waits until all answer.
func (c *Cluster) StartAll() {
	c.t.Helper()
	if err := c.launch(); err != nil {
		c.t.Fatalf("start the cluster again: %v", err)
	}
	c.Await()
}

// Wipe kills all members, removes their data and starts them again: an empty store at the same endpoints, whose cluster
// id is the same and whose revisions begin anew.
func (c *Cluster) Wipe() {
	c.t.Helper()
	c.KillAll()
	c.forget()
	c.StartAll()
}

func (c *Cluster) forget() {
	for _, m := range c.members {
		if err := os.RemoveAll(m.dir); err != nil {
			c.t.Fatalf("remove a member's data: %v", err)
		}
	}
}

// Snapshot saves the store as it is now to a file, whose name it returns.
func (c *Cluster) Snapshot() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	name := filepath.Join(c.dir, "snapshot.db")
	stream, err := c.client.Snapshot(ctx)
	if err != nil {
		c.t.Fatalf("take a snapshot: %v", err)
	}
	defer func() { _ = stream.Close() }()
	file, err := os.Create(name)
	if err == nil {
		_, err = io.Copy(file, stream)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		c.t.Fatalf("save a snapshot: %v", err)
	}
	return name
}

// Restore kills all members, gives them the store of a snapshot and starts them again. Bumped, revisions go on far above
// those that were, and whoever watches is told that his are compacted, as etcd's manual wants it; else they begin again
// where the snapshot was taken, and whoever watches is told nothing.
func (c *Cluster) Restore(snapshot string, bumped bool) {
	c.t.Helper()
	c.KillAll()
	c.forget()
	for _, m := range c.members {
		args := []string{
			"snapshot", "restore", snapshot, "--data-dir", m.dir, "--name", m.Name,
			"--initial-cluster", m.all, "--initial-advertise-peer-urls", "http://" + m.peer,
		}
		if bumped {
			args = append(args, "--bump-revision", "1000000000", "--mark-compacted")
		}
		if out, err := exec.Command(c.opts.Etcdutl, args...).CombinedOutput(); err != nil {
			c.t.Fatalf("restore a snapshot: %v\n%s", err, out)
		}
	}
	c.StartAll()
}

// Compact drops the store's history before the current revision, which it returns.
func (c *Cluster) Compact() int64 {
	c.t.Helper()
	revision, err := c.TryCompact()
	if err != nil {
		c.t.Fatalf("compact: %v", err)
	}
	return revision
}

// TryCompact is Compact where the member that is asked may die of it.
func (c *Cluster) TryCompact() (int64, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	now, err := c.client.Get(ctx, "head", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	_, err = c.client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	return now.Header.Revision, err
}

// launch starts all members that do not run.
func (c *Cluster) launch() error {
	var errs []error
	for _, m := range c.members {
		if m.cmd == nil {
			errs = append(errs, m.launch())
		}
	}
	return errors.Join(errs...)
}

// Programs are the ones that the cluster was started with.
func (c *Cluster) Programs() Programs { return c.opts.Programs }
