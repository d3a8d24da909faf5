package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// clusterSlots bounds the clusters that run at once in a test binary: each is several processes, and a machine that is
// short of processors would add faults of its own to those of the tests.
var clusterSlots = make(chan struct{}, 2)

// Cluster is an etcd of several members, each a process of its own that can hang, be killed and be started again. Its
// methods are for the goroutine of the test that started it; its clients are not bound to that.
type Cluster struct {
	members []*Member
}

// ClusterOption configures a cluster.
type ClusterOption func(*memberSpec)

// needTies skips a test of processes that would outlive it, or with CI=true fails it: there nothing may be left out.
func needTies(t testing.TB) {
	t.Helper()
	switch {
	case canTieProcesses:
	case os.Getenv("CI") == "true":
		t.Fatalf("no clusters on %s: a member that hangs would outlive the tests", runtime.GOOS)
	default:
		t.Skipf("no clusters on %s: a member that hangs would outlive the tests", runtime.GOOS)
	}
}

// WithFsync makes the members sync their writes to the disk, as production does, for what measures time. The default is
// not to: data then survives the kill of a member, not a crash of the machine.
func WithFsync() ClusterOption {
	return func(s *memberSpec) { s.Fsync = true }
}

// StartCluster starts a cluster of n members and waits until every one of them answers. All members are killed when t
// ends, and if t has failed, the last lines of their logs become part of its output.
//
// The members keep etcd's production timing: an election takes one to two seconds, and the least TTL is two. A member is
// this test binary once more, so the tests' TestMain must call [Main]. Two clusters run at once, the next one waits for
// its turn: a test may have one. Where processes cannot be tied to the life of the test it is skipped, or with CI=true fails.
func StartCluster(t testing.TB, n int, opts ...ClusterOption) *Cluster {
	t.Helper()
	needTies(t)
	clusterSlots <- struct{}{}
	t.Cleanup(func() { <-clusterSlots })
	dir := t.TempDir()
	for range 20 {
		c := newCluster(t, dir, n, opts)
		err := c.launch()
		if err == nil {
			t.Cleanup(func() { c.end(t) })
			c.Await(t)
			return c
		}
		c.KillAll()
		if !errors.Is(err, errPortTaken) {
			t.Fatalf("start a cluster: %v", err)
		}
	}
	t.Fatal("start a cluster: somebody takes every port that was free a moment ago")
	return nil
}

// newCluster lays a cluster out, on ports that are free now.
func newCluster(t testing.TB, dir string, n int, opts []ClusterOption) *Cluster {
	c := new(Cluster)
	var all []string
	for i := range n {
		spec := memberSpec{Name: fmt.Sprintf("m%d", i), Client: pickAddr(), Peer: pickAddr()}
		spec.Dir = filepath.Join(dir, spec.Name)
		for _, opt := range opts {
			opt(&spec)
		}
		all = append(all, spec.Name+"=http://"+spec.Peer)
		c.members = append(c.members, &Member{t: t, spec: spec, log: spec.Dir + ".log"})
	}
	for _, m := range c.members {
		m.spec.All = strings.Join(all, ",")
	}
	return c
}

// Endpoints is where clients find the members: host:port each, the same for the cluster's whole life.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.Endpoint())
	}
	return all
}

// Member returns the i-th member, from 0.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// Client returns a client of all members, made with [rollcall.ClientConfig], that is closed when t ends.
func (c *Cluster) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	return newClient(t, c.Endpoints()...)
}

// Compact drops etcd's history before the current revision, which it returns.
func (c *Cluster) Compact(t testing.TB) int64 {
	t.Helper()
	return compact(t, c.Endpoints()...)
}

// Leader returns the member that most members call their leader, and waits until there is one.
func (c *Cluster) Leader(t testing.TB) *Member {
	t.Helper()
	client := newClient(t, c.Endpoints()...)
	defer func() { _ = client.Close() }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		votes, ids := map[uint64]int{}, map[uint64]*Member{}
		for _, m := range c.answering() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			st, err := client.Status(ctx, m.Endpoint())
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
	t.Fatalf("no leader within %v", patience)
	return nil
}

// Await waits until every member that runs and does not hang answers a linearizable read: the cluster has a leader, and
// all of them know it.
func (c *Cluster) Await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range c.answering() {
		if err := m.await(ctx); err != nil {
			t.Fatalf("wait for member %s: %v", m.spec.Name, err)
		}
	}
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

// launch starts all members that do not run, side by side, and waits until they listen.
func (c *Cluster) launch() error {
	var started []*Member
	var errs []error
	for _, m := range c.members {
		if m.cmd == nil {
			errs = append(errs, m.launch())
			started = append(started, m)
		}
	}
	for _, m := range started {
		if m.cmd != nil {
			errs = append(errs, m.listening())
		}
	}
	return errors.Join(errs...)
}

func (c *Cluster) end(t testing.TB) {
	c.KillAll()
	if !t.Failed() {
		return
	}
	for _, m := range c.members {
		t.Logf("the log of member %s at %s ends with:\n%s", m.spec.Name, m.Endpoint(), m.logTail())
	}
}
