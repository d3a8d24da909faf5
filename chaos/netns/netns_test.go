package netns

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	silence = time.Second      // how long a test listens before it believes that nothing comes: TCP repeats what was lost sooner
	timeout = 30 * time.Second // bounds every wait for something that comes
)

// talkEnv makes a process of this test a talker: "listen host:port" or "dial host:port".
const talkEnv = "ROLLCALL_NETNS_TALK"

func TestMain(m *testing.M) {
	if how := os.Getenv(talkEnv); how != "" {
		if err := talk(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// talk makes one connection, says so, and from then on says there what it reads, and writes what it hears.
func talk(how string) error {
	verb, addr, _ := strings.Cut(how, " ")
	var conn net.Conn
	var err error
	if verb == "listen" {
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			fmt.Println("listening")
			conn, err = l.Accept()
		}
	} else {
		conn, err = net.DialTimeout("tcp", addr, timeout)
	}
	if err != nil {
		return err
	}
	fmt.Println("connected")
	go func() { _, _ = io.Copy(conn, os.Stdin) }()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

// talker is a process on a host that talks to another over one connection.
type talker struct {
	stdin io.Writer
	lines chan string
}

func startTalker(t *testing.T, h *Host, how string) talker {
	t.Helper()
	cmd := h.Command(os.Args[0])
	cmd.Env = append(os.Environ(), talkEnv+"="+how)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	return talker{stdin, lines}
}

func (k talker) say(t *testing.T, words string) {
	t.Helper()
	if _, err := fmt.Fprintln(k.stdin, words); err != nil {
		t.Fatal(err)
	}
}

func (k talker) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-k.lines:
		if got != want {
			t.Fatalf("hears %q, want %q", got, want)
		}
	case <-time.After(timeout):
		t.Fatalf("hears nothing, want %q", want)
	}
}

func (k talker) hearsNothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-k.lines:
		t.Fatalf("hears %q, want silence", got)
	case <-time.After(silence):
	}
}

// connect makes a connection between two hosts, over which both have been heard.
func connect(t *testing.T, n *Net, i, j int) (dialer, listener talker) {
	t.Helper()
	addr := net.JoinHostPort(n.Host(j).Addr(), "7777")
	listener = startTalker(t, n.Host(j), "listen "+addr)
	listener.hears(t, "listening")
	dialer = startTalker(t, n.Host(i), "dial "+addr)
	dialer.hears(t, "connected")
	listener.hears(t, "connected")
	dialer.say(t, "hello")
	listener.hears(t, "hello")
	listener.say(t, "welcome")
	dialer.hears(t, "welcome")
	return dialer, listener
}

func TestHostsThatAreCutHearNothingUntilTheyHeal(t *testing.T) {
	t.Parallel()
	n := New(t, 3)
	a, b := connect(t, n, 0, 1)
	c, d := connect(t, n, 0, 2)
	n.Cut(0, 1)
	a.say(t, "from a")
	b.say(t, "from b")
	c.say(t, "from c") // the cut is between two hosts, not around one
	d.hears(t, "from c")
	d.say(t, "from d")
	c.hears(t, "from d")
	a.hearsNothing(t)
	b.hearsNothing(t)
	n.Heal()
	a.hears(t, "from b")
	b.hears(t, "from a")
}

func TestACutOneWayLetsTheOtherWayBeHeard(t *testing.T) {
	t.Parallel()
	n := New(t, 2)
	a, b := connect(t, n, 0, 1)
	n.CutOneWay(0, 1)
	b.say(t, "from b")
	a.hears(t, "from b")
	a.say(t, "from a")
	b.hearsNothing(t)
	n.Heal()
	b.hears(t, "from a")
	b.say(t, "heard") // and so it is confirmed; unconfirmed, TCP would say nothing new
	a.hears(t, "heard")

	n.CutOneWay(1, 0)
	a.say(t, "from a again")
	b.hears(t, "from a again")
	b.say(t, "from b again")
	a.hearsNothing(t)
	n.Heal()
	a.hears(t, "from b again")
}

func TestTheTestProcessReachesHostsUntilItIsCutOff(t *testing.T) {
	t.Parallel()
	n := New(t, 2)
	addr := net.JoinHostPort(n.Host(1).Addr(), "7777")
	host := startTalker(t, n.Host(1), "listen "+addr)
	host.hears(t, "listening")
	conn, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got, want := conn.LocalAddr().(*net.TCPAddr).IP.String(), n.Addr(); got != want {
		t.Errorf("the test process speaks from %s, want %s", got, want)
	}
	own := outside(t, conn)
	host.hears(t, "connected")

	n.CutOneWay(Outside, 1)
	host.say(t, "from the host")
	own.hears(t, "from the host")
	own.say(t, "from outside")
	host.hearsNothing(t)
	n.Heal()
	host.hears(t, "from outside")
	host.say(t, "heard")
	own.hears(t, "heard")

	n.CutOneWay(1, Outside)
	own.say(t, "from outside again")
	host.hears(t, "from outside again")
	host.say(t, "from the host again")
	own.hearsNothing(t)
	n.Heal()
	own.hears(t, "from the host again")
}

// outside makes a talker of the test process's own end of a connection.
func outside(t *testing.T, conn net.Conn) talker {
	lines := make(chan string, 100)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(conn); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-read
	})
	return talker{conn, lines}
}

func TestNetworksAreGoneWithTheirTestAndDoNotMeet(t *testing.T) {
	t.Parallel()
	var names []string
	t.Run("networks", func(t *testing.T) {
		one, other := New(t, 1), New(t, 1)
		names = []string{one.name, other.name}
		if one.octet == other.octet {
			t.Errorf("two networks have the same addresses")
		}
		addr := net.JoinHostPort(other.Host(0).Addr(), "7777")
		startTalker(t, other.Host(0), "listen "+addr).hears(t, "listening")
		cmd := one.Host(0).Command(os.Args[0])
		cmd.Env = append(os.Environ(), talkEnv+"=dial "+addr)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "unreachable") {
			t.Errorf("a host that speaks to another network: %v, %s", err, out)
		}
	})
	for _, name := range names {
		if left := namespaces(name + "-*"); len(left) > 0 {
			t.Errorf("namespaces remain: %v", left)
		}
		if _, err := net.InterfaceByName(name); err == nil {
			t.Errorf("interface %s remains", name)
		}
	}
}

func TestNetworksMadeAtTheSameTimeNeverTakeTheSameNumber(t *testing.T) {
	t.Parallel()
	if err := Available(); err != nil {
		New(t, 1) // says why, and skips or fails
	}
	const many = 60
	var mu sync.Mutex
	taken := make(map[int]bool)
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			name, octet, err := claim()
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = remove(name) })
			mu.Lock()
			defer mu.Unlock()
			if taken[octet] {
				t.Errorf("number %d is taken twice", octet)
			}
			taken[octet] = true
		})
	}
	wg.Wait()
}

func TestNetworksOfDeadProcessesAreRemoved(t *testing.T) {
	t.Parallel()
	mine := New(t, 1)
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	left := fmt.Sprintf("%s%d-0", prefix, dead.Process.Pid)
	t.Cleanup(func() { _ = remove(left) })
	if err := ip("netns add "+left+"-bridge", "netns add "+left+"-host0"); err != nil {
		t.Fatal(err)
	}
	New(t, 1)
	if names := namespaces(left + "-*"); len(names) > 0 {
		t.Errorf("a dead process's namespaces remain: %v", names)
	}
	if names := namespaces(mine.name + "-*"); len(names) != 2 {
		t.Errorf("of a living process's namespaces there are %v, want 2", names)
	}
}

func TestACommandIsTheProcessOnTheHost(t *testing.T) {
	t.Parallel()
	n := New(t, 1)
	cmd := n.Host(0).Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	deadline := time.Now().Add(timeout)
	for name := ""; name != "sleep"; {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		if name = strings.TrimSpace(string(comm)); err != nil || time.Now().After(deadline) {
			t.Fatalf("the process that was started is %q, %v; want sleep", name, err)
		}
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := missing()
	for _, want := range []string{"iproute2", "nftables"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without any program: %v; want it to name %s", err, want)
		}
	}
}
