package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// What the test binary is when one of these is its first argument.
const (
	asGreeter = "be-a-greeter" // a server of the demo
	asBroken  = "be-broken"    // a process that complains and ends
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == asGreeter:
		beGreeter()
	case len(os.Args) > 1 && os.Args[1] == asBroken:
		fmt.Fprintln(os.Stderr, "no ports left")
		os.Exit(3)
	default:
		etcdtest.Main(m)
	}
}

func beGreeter() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := RunGreeter(ctx, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func testConfig(out io.Writer) Config {
	return Config{For: MinFor, Greeter: []string{os.Args[0], asGreeter}, Program: "bin/rollcall", Out: out}
}

func TestTheDemoKeepsItsPromises(t *testing.T) {
	longTest(t)
	t.Parallel()
	var out bytes.Buffer
	err := Run(t.Context(), testConfig(io.MultiWriter(&out, t.Output())))
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	inOrder(t, out.String(), "starting etcd", "started", "etcd 3.", "joined", "joined", "joined", "killing", killedServer)
	inOrder(t, out.String(), "killing", killedServer, "expired", killedServer, "calls: ")
	inOrder(t, out.String(), "stopping", drainedServer, "draining", drainedServer, "left", drainedServer, "calls: ")
	inOrder(t, out.String(),
		"calls: 2000 made",
		"held", "held", "held", "held", "held", "held",
		"bin/rollcall server\n",
		"bin/rollcall register jie-test 127.0.0.1:50051\n",
		"bin/rollcall watch jie-test\n",
	)
	for _, id := range joiners {
		inOrder(t, out.String(), "starting", id, "joined", id)
	}
}

func TestTheDemoNoticesThatADrainedServerJustStops(t *testing.T) {
	longTest(t)
	t.Parallel()
	var out bytes.Buffer
	cfg := testConfig(io.MultiWriter(&out, t.Output()))
	cfg.Sabotage = StopAtOnce
	err := Run(t.Context(), cfg)
	broken, ok := errors.AsType[*BrokenError](err)
	if !ok {
		t.Fatalf("Run: %v, want a BrokenError", err)
	}
	for _, promise := range []string{"no call failed but", "the drained server failed no call", "the drained server said goodbye"} {
		if !strings.Contains(broken.Error(), promise) {
			t.Errorf("%q does not tell that it broke: %s", broken, promise)
		}
		inOrder(t, out.String(), "BROKEN", promise)
	}
	if strings.Contains(out.String(), "Next") {
		t.Error("a demo that broke its promises tells what to try next")
	}
}

func TestAnInterruptedDemoEndsAtOnceAndLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &triggered{word: "calls     greeter-1", do: interrupt}
	cfg := testConfig(io.MultiWriter(out, t.Output()))
	cfg.For = time.Hour
	if err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want %v", err, context.Canceled)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind in the temporary directory: %v, %v", left, err)
	}
}

func TestAServerThatEndsByItselfEndsTheDemo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.Output())
	cfg.Greeter = []string{os.Args[0], asBroken}
	err := Run(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "greeter-") || !strings.Contains(err.Error(), "exit status 3: no ports left") {
		t.Errorf("Run: %v, want what the process said", err)
	}
}

func TestAServerEndsWithTheProcessThatStartedIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], asGreeter)
	child.Stderr = t.Output()
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// Nothing listens there: the server serves, and goes on trying to register.
	if err := json.NewEncoder(stdin).Encode(assignment{Etcd: "127.0.0.1:1", ID: "orphan"}); err != nil {
		t.Fatal(err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil || ctx.Err() != nil {
		t.Errorf("the server ended with %v, want a clean end in time", err)
	}
}

func TestTheEnvironmentOfAServerHasNothingOfRollcall(t *testing.T) {
	env := []string{"PATH=/bin", "ROLLCALL_ETCD=192.0.2.1:2379", "ROLLCALL_PREFIX=", "MY_ROLLCALL_=1"}
	if got := strings.Join(withoutRollcall(env), " "); got != "PATH=/bin MY_ROLLCALL_=1" {
		t.Errorf("kept %q", got)
	}
}

func longTest(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skipf("takes %v", MinFor)
	}
}

// inOrder fails the test if the words do not stand in text one after the other.
func inOrder(t *testing.T, text string, words ...string) {
	t.Helper()
	rest := text
	for _, word := range words {
		_, after, found := strings.Cut(rest, word)
		if !found {
			t.Errorf("no %q (in this order: %q) in:\n%s", word, words, text)
			return
		}
		rest = after
	}
}

// triggered does something when a word is first written to it.
type triggered struct {
	word string
	once sync.Once
	do   func()
}

func (w *triggered) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.word)) {
		w.once.Do(w.do)
	}
	return len(b), nil
}
