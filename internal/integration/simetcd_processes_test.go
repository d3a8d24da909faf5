package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// clusterWorld is an etcd of three members and the time it lives in.
type clusterWorld interface {
	passing
	// Client returns a client of member i, or of all for -1.
	Client(t *testing.T, i int, user ...string) *clientv3.Client
	// Leader returns the number of the member that leads, and waits until one does.
	Leader(t *testing.T) int
	// Hang stops members, Resume lets them go on and waits until all is well.
	Hang(t *testing.T, members ...int)
	Resume(t *testing.T, members ...int)
	// Alone parts a member from the others, as its clients see it; the others may do nothing meanwhile.
	Alone(t *testing.T, i int)
	// Behind makes a member fall behind, and Answer has it answer from what it has, if it does not already.
	Behind(t *testing.T, i int)
	Answer(t *testing.T, i int)
	// Rejoin ends Alone and Behind, and waits until all is well.
	Rejoin(t *testing.T, i int)
	// Kill ends the process of a member.
	Kill(t *testing.T, i int)
}

// simulatedCluster is the fake as a cluster.
type simulatedCluster struct{ *simulated }

func (w simulatedCluster) Leader(t *testing.T) (leads int) {
	t.Helper()
	eventually(t, 10*time.Second, "a leader", func() bool {
		leader := w.sim.Leader()
		for i, m := range w.sim.Members() {
			if m == leader {
				leads = i
			}
		}
		return leader != nil
	})
	return leads
}

func (w simulatedCluster) Hang(_ *testing.T, members ...int) {
	for _, i := range members {
		w.sim.Member(i).Hang()
	}
}

func (w simulatedCluster) Resume(_ *testing.T, members ...int) {
	for _, i := range members {
		w.sim.Member(i).Resume()
	}
}

func (w simulatedCluster) Alone(_ *testing.T, i int)  { w.sim.Member(i).Isolate() }
func (w simulatedCluster) Behind(_ *testing.T, i int) { w.sim.Member(i).Lag() }
func (w simulatedCluster) Answer(*testing.T, int)     {}
func (w simulatedCluster) Rejoin(_ *testing.T, i int) { w.sim.Member(i).Rejoin() }
func (w simulatedCluster) Kill(_ *testing.T, i int)   { w.sim.Member(i).Kill() }

// processes is etcd itself, each member a process of its own.
type processes struct{ cluster *etcdtest.Cluster }

func startProcesses(t *testing.T) processes {
	t.Helper()
	return processes{etcdtest.StartCluster(t, 3)}
}

func (w processes) Client(t *testing.T, i int, _ ...string) *clientv3.Client {
	endpoints := w.cluster.Endpoints()
	if i >= 0 {
		endpoints = endpoints[i : i+1]
	}
	c := worldClient(t, rollcall.ClientConfig(endpoints...), nil)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w processes) Pass(d time.Duration) { <-time.After(d) }

func (w processes) Leader(t *testing.T) int {
	t.Helper()
	leader := w.cluster.Leader(t)
	for i := range 3 {
		if w.cluster.Member(i) == leader {
			return i
		}
	}
	t.Fatal("a stranger leads")
	return -1
}

func (w processes) Hang(t *testing.T, members ...int) {
	t.Helper()
	for _, i := range members {
		w.cluster.Member(i).Hang()
	}
	for _, i := range members { // on a busy machine that is a while after it was told to
		eventually(t, 5*time.Second, "a member hangs", func() bool { return stopped(w.cluster.Member(i).Pid()) })
	}
}

// stopped reports whether every thread of a process is stopped.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if _, state, ok := strings.Cut(string(stat), ") "); err != nil || !ok || state[0] != 'T' {
			return false
		}
	}
	return true
}

func (w processes) Resume(t *testing.T, members ...int) {
	t.Helper()
	for _, i := range members {
		w.cluster.Member(i).Continue()
	}
	w.cluster.Await(t)
}

// others returns the members beside one.
func others(i int) []int { return []int{(i + 1) % 3, (i + 2) % 3} }

func (w processes) Alone(t *testing.T, i int)  { w.Hang(t, others(i)...) }
func (w processes) Behind(t *testing.T, i int) { w.Hang(t, i) }
func (w processes) Answer(_ *testing.T, i int) { w.cluster.Member(i).Continue() }

func (w processes) Rejoin(t *testing.T, i int) {
	t.Helper()
	w.Resume(t, 0, 1, 2) // who does not hang is not disturbed
}

func (w processes) Kill(_ *testing.T, i int) { w.cluster.Member(i).Kill() }
