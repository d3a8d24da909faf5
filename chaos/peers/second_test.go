package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"go.etcd.io/etcd/server/v3/embed"
)

const third, fourth = "127.0.0.1:7003", "127.0.0.1:7004" // nobody listens there

func TestASecondServiceGoesThroughTheEtcdClientOfTheFirst(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			i1 := instance(t, etcd, p.name, "i1", first, "-then", later(p.name), "-addr2", third, "-after", "1s")
			i2 := instance(t, etcd, p.name, "i2", second, "-then", later(p.name), "-addr2", fourth, "-after", "1s")
			for _, i := range []*process{i1, i2} {
				i.tellsOf(later(p.name), func(e journal.Event) bool { return e.What == journal.Registered && e.Err == "" })
			}
			w := watcher(t, etcd, p.name, "-then", later(p.name), "-after", "1s")
			w.shows(first, second)
			w.showsOf(later(p.name), third, fourth)

			for _, process := range []*process{i1, w} {
				want := 1
				if p.name == "rpcx" && process == i1 {
					want = 2 // its plugins, one for each address, have a client each
				}
				if got := process.connections(etcd); got != want {
					t.Errorf("%s has %d connections to etcd, want %d", process.name, got, want)
				}
			}

			i1.signal(syscall.SIGTERM)
			w.shows(second)
			w.showsOf(later(p.name), fourth)
			i1.ends(0)
			i1.tells(journal.Closed)
		})
	}
}

func TestRpcxRegistersTwoServicesOfOneAddressThroughOneClient(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	i1 := instance(t, etcd, "rpcx", "i1", first, "-then", later("rpcx"), "-addr2", first)
	w := watcher(t, etcd, "rpcx", "-then", later("rpcx"))
	w.shows(first)
	w.showsOf(later("rpcx"), first)
	if got := i1.connections(etcd); got != 1 {
		t.Errorf("%d connections to etcd, want 1", got)
	}
	i1.signal(syscall.SIGTERM)
	w.shows()
	w.showsOf(later("rpcx"))
	i1.ends(0)
}

// What becomes of the second service then is for the chaos suite to find. Here it is only told.
func TestASecondServiceIsToldOfWhenTokensHaveExpired(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t, func(cfg *embed.Config) { cfg.AuthTokenTTL = 2 })
	requirePassword(t, etcd)
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			more := []string{"-user", "root", "-password", password, "-then", later(p.name), "-after", "4s"}
			i1 := instance(t, etcd, p.name, "i1", first, append(more, "-addr2", third)...)
			i1.tellsOf(later(p.name), func(e journal.Event) bool { return e.What == journal.Registered && e.ID == third })
			w := watcher(t, etcd, p.name, more...)
			w.tellsOf(later(p.name), func(e journal.Event) bool { return e.What == journal.Viewed || e.What == journal.Unviewed })
		})
	}
}

func later(peer string) string { return "later-" + peer }

// tellsOf waits until the process has told such a thing of a service.
func (p *process) tellsOf(service string, such func(journal.Event) bool) {
	p.t.Helper()
	p.until("telling of "+service, func(all []journal.Event) bool {
		return slices.ContainsFunc(all, func(e journal.Event) bool { return e.Service == service && such(e) })
	})
}

// connections counts the connections that the process has to an address.
func (p *process) connections(addr string) int {
	p.t.Helper()
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		p.t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	table, err := os.ReadFile(proc + "net/tcp")
	if err != nil {
		p.t.Fatal(err)
	}
	var inodes []string
	for line := range strings.Lines(string(table)) {
		// 1 is the local address, 2 the other one, 3 the state, of which 01 is established, 9 the inode.
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[3] == "01" && strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", to.Port)) {
			inodes = append(inodes, "socket:["+fields[9]+"]")
		}
	}
	files, err := filepath.Glob(proc + "fd/*")
	if err != nil {
		p.t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && slices.Contains(inodes, target) {
			count++
		}
	}
	return count
}
