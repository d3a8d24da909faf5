package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall/chaos/journal"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/sys/unix"
)

const (
	asPeers = "ROLLCALL_TEST_AS_PEERS" // in the environment: this test binary is to be the program
	ttl     = 5 * time.Second
	patient = time.Minute // bounds every wait; rpcx's first lease is of 30 s
)

// The peers' packages start goroutines as they are loaded, so there is no check for leaked ones here.
func TestMain(m *testing.M) {
	if os.Getenv(asPeers) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	first, second = "127.0.0.1:7001", "127.0.0.1:7002" // nobody listens there
)

func TestWatchersOfEveryPeerSeeInstancesComeAndGo(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			comeAndGo(t, etcd, p.name)
		})
	}
}

func TestWatchersOfEveryPeerSeeInstancesComeAndGoWithAuthentication(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	requirePassword(t, etcd)
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			comeAndGo(t, etcd, p.name, "-user", "root", "-password", password)
		})
	}
}

func comeAndGo(t *testing.T, etcd, peer string, more ...string) {
	t.Helper()
	i1, i2 := instance(t, etcd, peer, "i1", first, more...), instance(t, etcd, peer, "i2", second, more...)
	for _, i := range []*process{i1, i2} {
		i.tells(journal.Registered)
	}
	w := watcher(t, etcd, peer, more...)
	w.shows(first, second)

	i1.signal(syscall.SIGTERM)
	w.shows(second)
	i1.ends(0)
	i1.tells(journal.Closed)

	w.signal(syscall.SIGTERM)
	w.ends(0)
	w.tells(journal.Closed)
	i2.signal(syscall.SIGTERM)
	i2.ends(0)
}

func TestAnInstanceThatIsKilledLeavesWithItsLease(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			w := watcher(t, etcd, p.name)
			i1 := instance(t, etcd, p.name, "i1", first)
			instance(t, etcd, p.name, "i2", second)
			w.shows(first, second)
			i1.signal(syscall.SIGKILL)
			w.shows(second)
		})
	}
}

func TestAProcessEndsWithItsStandardInput(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	p := instance(t, etcd, "plain", "i1", first)
	p.tells(journal.Registered)
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	p.ends(1)
}

func TestAnInstanceThatWaitsForEtcdEndsWhenTold(t *testing.T) {
	t.Parallel()
	p := instance(t, "127.0.0.1:1", "plain", "i1", first)
	p.tells(journal.Registering)
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

func TestTheListHasAVersionForEveryPeer(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0], "list")
	cmd.Env = append(os.Environ(), asPeers+"=1")
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if got, want := len(lines), len(peers()); got != want {
		t.Fatalf("%d lines, want %d:\n%s", got, want, out.String())
	}
	for _, line := range lines {
		if len(strings.Fields(line)) != 3 {
			t.Errorf("want a name, a module and a version: %q", line)
		}
	}
}

// A process is this program, started as a test binary that runs main.
type process struct {
	t      *testing.T
	name   string
	peer   string
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{} // closed when it has ended

	mu      sync.Mutex
	events  []journal.Event // guarded by mu
	changed chan struct{}   // guarded by mu; closed and replaced when there are more events
}

func instance(t *testing.T, etcd, peer, name, addr string, more ...string) *process {
	t.Helper()
	return start(t, name, append([]string{
		peer, "register", "-name", name, "-endpoints", etcd, "-service", service(peer),
		"-id", name, "-addr", addr, "-ttl", ttl.String(),
	}, more...)...)
}

func watcher(t *testing.T, etcd, peer string, more ...string) *process {
	t.Helper()
	return start(t, "w1", append([]string{peer, "watch", "-name", "w1", "-endpoints", etcd, "-service", service(peer)}, more...)...)
}

func service(peer string) string { return "svc-" + peer }

func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, peer: args[0], cmd: exec.Command(os.Args[0], args...), exited: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asPeers+"=1", "HOME="+t.TempDir())
	if args[0] == "rpcx" {
		p.cmd.Env = append(p.cmd.Env, "GORACE=exitcode=0") // its plugin has a data race between Start and Register
	}
	p.cmd.Dir = t.TempDir()
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var logs bytes.Buffer
	p.cmd.Stderr = &logs
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.read(stdout)
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s: %+v\n%s", name, p.events, logs.String())
		}
	})
	return p
}

func (p *process) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e journal.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			p.t.Errorf("%s: not a line of a journal: %q", p.name, lines.Text())
			continue
		}
		p.mu.Lock()
		p.events = append(p.events, e)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// until waits until all that the process told so far satisfies done.
func (p *process) until(what string, done func([]journal.Event) bool) {
	p.t.Helper()
	for deadline := time.After(patient); ; {
		p.mu.Lock()
		ok, changed := done(p.events), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-p.exited:
			p.mu.Lock()
			ok := done(p.events)
			p.mu.Unlock()
			if !ok {
				p.t.Fatalf("%s has ended, and not %s", p.name, what)
			}
			return
		case <-deadline:
			p.t.Fatalf("%s: not %s within %v", p.name, what, patient)
		}
	}
}

// tells waits until the process has told of this, and of no error with it.
func (p *process) tells(what journal.Kind) {
	p.t.Helper()
	p.until(string(what), func(all []journal.Event) bool {
		return slices.ContainsFunc(all, func(e journal.Event) bool { return e.What == what && e.Err == "" })
	})
}

// shows waits until the view of a watcher, put together from its changes, is exactly these addresses.
func (p *process) shows(want ...string) {
	p.t.Helper()
	p.showsOf(service(p.peer), want...)
}

func (p *process) showsOf(service string, want ...string) {
	p.t.Helper()
	p.until(fmt.Sprint("showing ", service, " at ", want), func(all []journal.Event) bool {
		shown := map[string]bool{}
		size := 0
		for _, e := range all {
			if e.What != journal.Viewed || e.Service != service {
				continue
			}
			size = e.Size
			for _, m := range e.Changed {
				shown[m.ID] = true
			}
			for _, id := range e.Left {
				delete(shown, id)
			}
			if len(shown) != size {
				p.t.Errorf("%s: a view of %d adds up to %v", p.name, size, shown)
			}
		}
		return cmp.Equal(slices.Sorted(maps.Keys(shown)), slices.Sorted(slices.Values(want)))
	})
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) ends(code int) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patient):
		p.t.Fatalf("%s did not end within %v", p.name, patient)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%s ended with %d, want %d", p.name, got, code)
	}
}

// startEtcd runs an etcd of the version that rollcall is tested with, and returns its address.
func startEtcd(t *testing.T, options ...func(*embed.Config)) string {
	t.Helper()
	cfg := embed.NewConfig()
	for _, option := range options {
		option(cfg)
	}
	cfg.Dir = t.TempDir()
	cfg.LogLevel = "error"
	cfg.UnsafeNoFsync = true
	cfg.BcryptCost = 4 // the cheapest: the peers' clients give etcd 5 s to check a password
	local := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = local, local
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(patient):
		t.Fatal("etcd is not ready")
	}
	return e.Clients[0].Addr().String()
}

const password = "secret"

// requirePassword turns etcd's authentication on, with one user, root.
func requirePassword(t *testing.T, etcd string) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}, DialTimeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.UserAdd(t.Context(), "root", password); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserGrantRole(t.Context(), "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
}
