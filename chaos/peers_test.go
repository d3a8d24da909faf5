package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/judge"
	"github.com/rollcall-io/rollcall/chaos/world"
)

const (
	rollcallItself = "rollcall"
	peerTTL        = 10 * time.Second
	peerInstances  = 6
	peerService    = "chaos"
)

// ordeal is a fault that the peers and rollcall are put through alike. Nothing is judged: what became of each is told.
type ordeal struct {
	name    string
	fault   string
	auth    bool
	age     int // how many changes the registry has seen before
	cluster cluster.Options
	play    func(w *world.World, u user)
}

func ordeals() []ordeal {
	return []ordeal{
		{name: "hung leader", fault: "the leader is stopped for 30 s", play: func(w *world.World, _ user) {
			m := w.Cluster.Leader()
			lasting(w, "hung", m.Name, 3*peerTTL, m.Hang, m.Continue)
			w.Last(20 * time.Second)
		}},
		{name: "outage", fault: "all members are away for 60 s", play: func(w *world.World, _ user) {
			lasting(w, "outage", world.Etcd, time.Minute, w.Cluster.KillAll, w.Cluster.StartAll)
			w.Last(45 * time.Second)
		}},
		{name: "compaction", fault: "the watcher is cut off for 8 s while one instance leaves, one joins and etcd compacts", play: missCompaction},
		{name: "wipe", fault: "all members lose their data, 500 changes after the registry began", age: 500, play: func(w *world.World, _ user) {
			w.Fault("wipe", world.Etcd)
			w.Cluster.Wipe()
			w.Judge.Rewritten("wipe")
			w.Healed("wipe", world.Etcd)
			w.Last(40 * time.Second)
		}},
		{name: "own key deleted", fault: "the keys of two live instances are deleted", play: func(w *world.World, _ user) {
			w.Fault("deleted", "two keys")
			for i := range 2 {
				deleteOf(w, peerAddr(i))
			}
			w.Healed("deleted", "two keys")
			w.Last(30 * time.Second)
		}},
		{
			name: "token expiry", auth: true,
			fault:   "tokens live 5 s; after 12 s a process with a watcher and one with an instance begin another one each, and later more join",
			cluster: cluster.Options{Args: []string{"--auth-token-ttl=5", "--bcrypt-cost=4"}},
			play: func(w *world.World, u user) {
				w.Fault("token expiry", "tokens")
				w.Last(secondAfter + 2*time.Second)
				u.register(w, peerInstances)
				u.start(w, "second", "register", "-service", secondService, "-id", secondAddr(1), "-addr", secondAddr(1), "-ttl", peerTTL.String())
				w.Healed("token expiry", "tokens")
				w.Last(20 * time.Second)
			},
		},
	}
}

// missCompaction: the watcher that was started first is not cut off, and so has nothing to miss; it is ended.
func missCompaction(w *world.World, u user) {
	proxies := w.Proxied()
	watcher := u.watch(w, "cut")
	w.Attend(10*time.Second, func() bool { return watcher.Last(journal.Viewed).Size > 0 })
	w.Last(2 * time.Second)
	for _, p := range proxies {
		p.Cut()
	}
	w.Fault("cut", watcher.Name)
	w.Endpoints = w.Cluster.Endpoints()
	leaver := w.Process("i0")
	leaver.Terminate()
	leaver.Wait(15 * time.Second)
	u.register(w, peerInstances)
	w.Last(8 * time.Second)
	w.Compact()
	for _, p := range proxies {
		p.Heal()
	}
	w.Healed("cut", watcher.Name)
	w.Last(30 * time.Second)
}

// What a process begins beside its first service, once its token is dead.
const (
	secondService = "chaos2"
	secondAfter   = 12 * time.Second
)

func secondAddr(i int) string { return fmt.Sprintf("10.1.3.%d:50051", i+1) }

func peerAddr(i int) string { return fmt.Sprintf("10.1.2.%d:50051", i+1) }

// touch writes the keys that there are again as they are, so that whoever watches them has seen so many revisions.
func touch(w *world.World, times int) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	if times == 0 {
		return
	}
	all, err := w.Cluster.Client().Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	if err != nil || len(all.Kvs) == 0 {
		w.T.Fatalf("nobody is registered: %v", err)
	}
	for n := range times {
		key := string(all.Kvs[n%len(all.Kvs)].Key)
		if _, err := w.Cluster.Client().Put(ctx, key, "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease()); err != nil {
			w.T.Fatal(err)
		}
	}
}

// deleteOf deletes every key that mentions an address, or whose value does.
func deleteOf(w *world.World, addr string) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 10*time.Second)
	defer cancel()
	all, err := w.Cluster.Client().Get(ctx, "\x00", clientv3.WithFromKey())
	if err != nil {
		w.T.Fatal(err)
	}
	for _, kv := range all.Kvs {
		if strings.Contains(string(kv.Key), addr) || strings.Contains(string(kv.Value), addr) {
			if _, err := w.Cluster.Client().Delete(ctx, string(kv.Key)); err != nil {
				w.T.Fatal(err)
			}
		}
	}
}

// user runs the processes of one peer, or of rollcall.
type user struct {
	name, program string
	first         []string // arguments before all others
	login         []string
}

func (u user) register(w *world.World, i int, more ...string) *world.Process {
	w.T.Helper()
	name := fmt.Sprintf("i%d", i)
	return u.start(w, name, "register", append([]string{"-id", peerAddr(i), "-addr", peerAddr(i), "-ttl", peerTTL.String()}, more...)...)
}

func (u user) watch(w *world.World, name string, more ...string) *world.Process {
	w.T.Helper()
	return u.start(w, name, "watch", more...)
}

func (u user) start(w *world.World, name, role string, args ...string) *world.Process {
	w.T.Helper()
	all := slices.Concat(u.first, []string{role, "-name", name, "-endpoints", strings.Join(w.Endpoints, ","), "-service", peerService}, args, u.login)
	return w.Start(name, u.program, all...)
}

// peerCell is what became of one peer in one ordeal.
type peerCell struct {
	peer, ordeal string
	figures
	err string // why there is nothing to tell
}

// What becomes of the peers of rollcall, and of itself, under the same faults. It judges rollcall only.
func TestPeers(t *testing.T) {
	if !*allFlag {
		t.Skip("the peers are some hundred modules, which make test does not fetch: make chaos runs it")
	}
	users := peers(t)
	for _, o := range ordeals() {
		for _, u := range users {
			t.Run(o.name+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				cell := o.run(t, u)
				t.Logf("%+v", cell)
				book.addPeer(cell)
				if u.name == rollcallItself && (cell.Deleted > 0 && o.name != "own key deleted" || cell.Missing > 0 || cell.Forever) {
					t.Errorf("rollcall does no better: %+v", cell)
				}
			})
		}
	}
}

// peers returns all that can be put through an ordeal, rollcall last.
func peers(t *testing.T) []user {
	t.Helper()
	peer, err := programs.Peer()
	if err != nil {
		t.Fatal(err)
	}
	subject, err := programs.Subject()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(peer, "list").Output()
	if err != nil {
		t.Fatalf("list the peers: %v", err)
	}
	var all []user
	for line := range strings.Lines(string(out)) {
		name := strings.Fields(line)[0]
		all = append(all, user{name: name, program: peer, first: []string{name}})
		book.addVersion(strings.TrimSpace(line))
	}
	return append(all, user{name: rollcallItself, program: subject})
}

func (o ordeal) run(t *testing.T, u user) peerCell {
	t.Helper()
	enter(t, false)
	current, err := programs.Current()
	if err != nil {
		t.Fatal(err)
	}
	o.cluster.Programs = current
	cfg := world.Config{
		Dir:     runFolder(t, strings.ReplaceAll("peer-"+u.name+"-"+o.name, " ", "-")),
		Expect:  journal.Expect{Scenario: o.name + " for " + u.name, Seed: seed(), TTL: peerTTL},
		Cluster: o.cluster,
	}
	if o.auth {
		cfg.Judge = []judge.Option{judge.WithLogin("root", "secret")}
		u.login = []string{"-user", "root", "-password", "secret"}
	}
	w := world.New(t, cfg)
	if o.auth {
		enableAuth(w)
	}
	cell := peerCell{peer: u.name, ordeal: o.name}
	var all []*world.Process
	var then []string
	if o.auth {
		then = []string{"-then", secondService, "-after", secondAfter.String()}
		all = append(all, u.register(w, 0, append(then, "-addr2", secondAddr(0))...))
	}
	for i := len(all); i < peerInstances; i++ {
		all = append(all, u.register(w, i))
	}
	w.Attend(20*time.Second, func() bool {
		return !slices.ContainsFunc(all, func(p *world.Process) bool { return p.Seen(journal.Registered) == 0 })
	})
	watcher := u.watch(w, "w0", then...)
	if !w.Attend(20*time.Second, func() bool { return watcher.Last(journal.Viewed).Size == peerInstances }) {
		cell.err = "does not get so far: " + w.Process("w0").Complaint()
	}
	if o.name == "compaction" {
		watcher.Kill()
	}
	touch(w, o.age)
	stop := w.Meter()
	o.play(w, u)
	rate := stop()
	cell.figures = measure(w.Abandon())
	cell.Load["requests/s"] = rate
	if !t.Failed() && !*keepFlag {
		_ = os.RemoveAll(w.Dir)
	}
	return cell
}

func (r *results) addPeer(c peerCell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = append(r.peers, c)
}

func (r *results) addVersion(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions = append(r.versions, line)
}

// writePeers writes one table, a row for each ordeal and a column for each peer, rollcall in the last one.
func (r *results) writePeers(page *bytes.Buffer) {
	if len(r.peers) == 0 {
		return
	}
	var names []string
	for _, c := range r.peers {
		if !slices.Contains(names, c.peer) && c.peer != rollcallItself {
			names = append(names, c.peer)
		}
	}
	slices.Sort(names)
	names = append(names, rollcallItself)
	fmt.Fprintf(page, "## The peers under the same faults\n\nSix instances with a TTL of %v and a watcher of each, on a cluster of its own. In each cell: live instances that etcd\n"+
		"lost; the longest that one was missing once etcd was there; the longest that the watcher did not show what etcd held; requests per\n"+
		"second that etcd got from all of them, heartbeats included, from the fault to the end.\n\n", peerTTL)
	for _, line := range r.versions {
		fmt.Fprintf(page, "- %s\n", line)
	}
	fmt.Fprintf(page, "\n| fault | | %s |\n|---|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, o := range ordeals() {
		for n, what := range []string{"lost", "back after", "stale for", "requests/s"} {
			label := ""
			if n == 0 {
				label = "**" + o.name + "**: " + o.fault
			}
			fmt.Fprintf(page, "| %s | %s |", label, what)
			for _, name := range names {
				fmt.Fprintf(page, " %s |", r.cell(o.name, name, what))
			}
			fmt.Fprintln(page)
		}
	}
	fmt.Fprintln(page)
}

func (r *results) cell(ordeal, peer, what string) string {
	n := slices.IndexFunc(r.peers, func(c peerCell) bool { return c.ordeal == ordeal && c.peer == peer })
	if n < 0 {
		return "not run"
	}
	c := r.peers[n]
	switch {
	case c.err != "":
		return map[bool]string{true: c.err}[what == "lost"]
	case what == "lost":
		return fmt.Sprintf("%d of %d", c.Deleted, c.Alive)
	case what == "back after" && c.Missing > 0:
		return fmt.Sprintf("%d never (%.0f s)", c.Missing, c.Absent.Seconds())
	case what == "back after":
		return seconds(c.Absent)
	case what == "stale for" && c.Forever:
		return fmt.Sprintf("ever (%.0f s)", c.Wrong.Seconds())
	case what == "stale for":
		return seconds(c.Wrong)
	}
	return fmt.Sprintf("%.1f", c.Load["requests/s"])
}
