package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// patience bounds every wait of a script; it is far more than anything needs.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"rollcall": main})
}

// leakChecked fails a run that left a goroutine behind.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestTheCommandsDoWhatTheScriptsSay(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(4 * time.Minute), // nothing takes that long: a command hangs
		Setup: func(env *testscript.Env) error {
			env.Values[stageKey{}] = &stage{t: env.T().(testing.TB), processes: map[string]*process{}}
			env.Setenv(noDNS())
			env.Setenv("BIG", strings.Repeat("x", 17<<10))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"etcd":     etcdCommand,
			"certs":    certsCommand,
			"freeport": freeportCommand,
			"occupy":   occupyCommand,
			"start":    startCommand,
			"unheard":  unheardCommand,
			"end":      endCommand,
			"exits":    exitsCommand,
			"waitfor":  waitforCommand,
			"until":    untilCommand,
			"scrub":    scrubCommand,
		},
	})
}

// stage is what one script has set up.
type stage struct {
	t         testing.TB
	etcd      *etcdtest.Server
	client    *clientv3.Client
	processes map[string]*process
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

func need(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

// etcd start        starts an etcd and points $ROLLCALL_ETCD at it
// etcd stop|restart with the same data, on the same port
// etcd put KEY VALUE, etcd del KEY, etcd keys
// etcd history KEY  prints every value it had, "deleted" where it went
// etcd revoke       ends every lease, with what lies under it
// etcd lock         from now on it wants a name and a password
// etcd role SERVICE makes a user of that name, with the password "secret", who may do everything with that service and nothing else
func etcdCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "etcd start|stop|restart|put|del|keys|history|revoke|lock")
	s := stageOf(ts)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch args[0] {
	case "start":
		s.etcd = etcdtest.Start(s.t)
		s.client = s.etcd.Client(s.t)
		ts.Setenv("ROLLCALL_ETCD", s.etcd.Endpoint())
	case "stop":
		s.etcd.Stop()
	case "restart":
		s.etcd.Restart()
	case "put":
		_, err := s.client.Put(ctx, args[1], args[2])
		ts.Check(err)
	case "del":
		_, err := s.client.Delete(ctx, args[1])
		ts.Check(err)
	case "keys":
		out := ts.Stdout() // also of no keys
		answer, err := s.client.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		ts.Check(err)
		for _, kv := range answer.Kvs {
			fmt.Fprintln(out, string(kv.Key))
		}
	case "history":
		printHistory(ctx, ts, s.client, args[1])
	case "revoke":
		answer, err := s.client.Leases(ctx)
		ts.Check(err)
		for _, lease := range answer.Leases {
			_, err := s.client.Revoke(ctx, lease.ID)
			ts.Check(err)
		}
	case "role":
		lockRole(ctx, ts, s.client, args[1])
	case "lock":
		_, err := s.client.UserAdd(ctx, "root", "secret")
		ts.Check(err)
		_, err = s.client.UserGrantRole(ctx, "root", "root")
		ts.Check(err)
		_, err = s.client.AuthEnable(ctx)
		ts.Check(err)
	default:
		ts.Fatalf("etcd %s: unknown", args[0])
	}
}

func lockRole(ctx context.Context, ts *testscript.TestScript, client *clientv3.Client, service string) {
	_, err := client.RoleAdd(ctx, service)
	ts.Check(err)
	for _, part := range []string{"services", "control"} {
		dir := "rollcall/" + part + "/" + service + "/"
		_, err = client.RoleGrantPermission(ctx, service, dir, clientv3.GetPrefixRangeEnd(dir), clientv3.PermissionType(clientv3.PermReadWrite))
		ts.Check(err)
	}
	_, err = client.UserAdd(ctx, service, "secret")
	ts.Check(err)
	_, err = client.UserGrantRole(ctx, service, service)
	ts.Check(err)
}

func printHistory(ctx context.Context, ts *testscript.TestScript, client *clientv3.Client, key string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := ts.Stdout()
	now, err := client.Get(ctx, key)
	ts.Check(err)
	for answer := range client.Watch(ctx, key, clientv3.WithRev(1)) {
		ts.Check(answer.Err())
		for _, e := range answer.Events {
			fmt.Fprintln(out, cmp.Or(string(e.Kv.Value), "deleted"))
			if e.Kv.ModRevision == now.Header.Revision {
				return
			}
		}
	}
	ts.Fatalf("the history of %s does not reach revision %d", key, now.Header.Revision)
}

// certs makes a certificate for this machine, and sets $CERT, $KEY and $CA to its files and $OTHER to the one of another authority.
func certsCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, "certs")
	t := stageOf(ts).t
	authority := etcdtest.NewAuthority(t)
	id := authority.Issue(t, "server")
	ts.Setenv("CERT", id.CertFile)
	ts.Setenv("KEY", id.KeyFile)
	ts.Setenv("CA", authority.File)
	ts.Setenv("OTHER", etcdtest.NewAuthority(t).File)
}

// freeport NAME... sets each to a loopback port that nothing listens on. The ports lie below those that systems hand
// out by themselves, so that none is taken before the script uses it.
func freeportCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "freeport NAME...")
	for _, name := range args {
		l := listenSomewhere(ts)
		ts.Setenv(name, portOf(l))
		ts.Check(l.Close())
	}
}

// occupy NAME listens on a port for as long as the script runs, and sets NAME to it.
func occupyCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "occupy NAME")
	l := listenSomewhere(ts)
	ts.Setenv(args[0], portOf(l))
	ts.Defer(func() { _ = l.Close() })
}

func listenSomewhere(ts *testscript.TestScript) net.Listener {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10240+rand.IntN(20000)))); err == nil {
			return l
		}
	}
	ts.Fatalf("find a free port: %v", err)
	return nil
}

func portOf(l net.Listener) string { return strconv.Itoa(l.Addr().(*net.TCPAddr).Port) }

// process is a rollcall that runs beside the script.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start NAME ARGS... runs rollcall ARGS beside the script, with its output in NAME.out and NAME.err.
func startCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "start NAME ARGS...")
	out, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	startProcess(ts, args[0], out, args[1:])
}

// unheard NAME ARGS... is start with an output whose reader has gone, as of a pipe into "head -c0".
func unheardCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "unheard NAME ARGS...")
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Check(r.Close())
	startProcess(ts, args[0], w, args[1:])
}

func startProcess(ts *testscript.TestScript, name string, out *os.File, args []string) {
	errs, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	bin, err := exec.LookPath("rollcall")
	ts.Check(err)
	cmd := exec.Command(bin, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = ts.MkAbs("."), out, errs, processEnv(ts)
	ts.Check(cmd.Start())
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
		_, _ = out.Close(), errs.Close()
	}()
	stageOf(ts).processes[name] = p
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
}

// noDNS is a variable that has servers serve no DNS, unless they are told to: its port is the machine's only one.
func noDNS() (name, value string) { return "ROLLCALL_DNS_LISTEN", "" }

func processEnv(ts *testscript.TestScript) []string {
	name, value := noDNS()
	env := []string{name + "=" + value}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR", "ROLLCALL_SERVER", "ROLLCALL_TOKEN", "ROLLCALL_ETCD", "ROLLCALL_PREFIX"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

var signals = map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}

// end NAME SIGNAL CODE sends a signal ("-" sends none) to what was started, waits until it ends and checks its exit
// code; -1 is death by the signal. "end NAME SIGNAL go-on" only sends.
func endCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, "end NAME INT|TERM|KILL|STOP|- CODE|go-on")
	p := stageOf(ts).processes[args[0]]
	if p == nil {
		ts.Fatalf("%s was not started", args[0])
	}
	if args[1] != "-" {
		ts.Check(p.cmd.Process.Signal(signals[args[1]]))
	}
	if args[2] == "go-on" {
		return
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s still runs after %v", args[0], patience)
	}
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[2] {
		ts.Fatalf("%s exited with %s, want %s; it said:\n%s", args[0], got, args[2], ts.ReadFile(args[0]+".err"))
	}
}

// exits CODE ARGS... runs rollcall ARGS and checks its exit code.
func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "exits CODE ARGS...")
	if got := runRollcall(ts, args[1:]); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func runRollcall(ts *testscript.TestScript, args []string) int {
	err := ts.Exec("rollcall", args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// waitfor FILE REGEXP waits until the file has a match.
func waitforCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "waitfor FILE REGEXP")
	want := regexp.MustCompile("(?m)" + args[1])
	poll(ts, fmt.Sprintf("%s in %s", args[1], args[0]), func() (string, bool) {
		text := ts.ReadFile(args[0])
		return text, want.MatchString(text)
	})
}

// until REGEXP ARGS... runs rollcall ARGS again and again until its output has a match.
func untilCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "until REGEXP ARGS...")
	want := regexp.MustCompile("(?m)" + args[0])
	poll(ts, fmt.Sprintf("%s from %v", args[0], args[1:]), func() (string, bool) {
		runRollcall(ts, args[1:])
		text := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		return text, want.MatchString(text)
	})
}

func poll(ts *testscript.TestScript, what string, look func() (string, bool)) {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text, found := look()
		if found {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %s after %v; there was:\n%s", what, patience, text)
		}
	}
}

var changing = []struct {
	what *regexp.Regexp
	mask string
}{
	{regexp.MustCompile(`"within":[0-9.]+,`), ``}, // who saw it happen knows exactly
	{regexp.MustCompile(`\b[0-9]+[smh]([0-9]+[smh])? ago\b *`), `AGE ago  `},
	{regexp.MustCompile(`SINCE +NOTE`), `SINCE    NOTE`},
	{regexp.MustCompile(`"(time|registered|since|until)":( ?)"20[0-9T:.+-]*Z?"`), `"$1":$2"TIME"`},
	{regexp.MustCompile(`"incarnation":"[^"]+"`), `"incarnation":"INCARNATION"`},
	{regexp.MustCompile(`"revision":[0-9]+`), `"revision":REVISION`},
	{regexp.MustCompile(`(?m)^≤?[0-9]{2}:[0-9]{2}:[0-9]{2} `), `hh:mm:ss `},
}

// scrub FROM TO copies a file with everything masked that is different in every run.
func scrubCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "scrub FROM TO")
	text := ts.ReadFile(args[0])
	for _, c := range changing {
		text = c.what.ReplaceAllString(text, c.mask)
	}
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(args[1])), []byte(text), 0o600))
}

// needProgram returns where a program is. It skips a test without it, or with CI=true fails it: there nothing may be left out.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing, make deps installs it", name)
	default:
		t.Skipf("%s is missing, make deps installs it", name)
	}
	return path
}
