//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// screenWindow is a real terminal, in which a shell command runs.
type screenWindow struct {
	t      *testing.T
	socket string
}

func newScreen(t *testing.T, columns, rows, command string) *screenWindow {
	t.Helper()
	needProgram(t, "tmux")
	short, err := os.MkdirTemp("", "tmux") // the path of a socket must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	term := &screenWindow{t, filepath.Join(short, "s")}
	term.tmux("-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows, command)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", term.socket, "kill-server").Run() })
	return term
}

func (x *screenWindow) tmux(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", x.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// until waits until the screen meets a condition, and returns what is on it.
func (x *screenWindow) until(what string, met func(screen string) bool) string {
	x.t.Helper()
	screen := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if screen = x.tmux("capture-pane", "-p", "-e"); met(screen) {
			return screen
		}
	}
	x.t.Fatalf("%s: it does not come; there is:\n%s", what, screen)
	return ""
}

func (x *screenWindow) shows(texts ...string) string {
	x.t.Helper()
	return x.until(strings.Join(texts, ", "), func(screen string) bool {
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

func TestAWatchOnATerminalIsATableThatIsAlwaysCurrent(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, err := rollcall.Open(rollcall.ClientConfig(etcd.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBackend(t.Context(), reg) })
	one, err := reg.Register(t.Context(), "web", rollcall.Instance{Addr: "127.0.0.1:50051", ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	bin, err := exec.LookPath("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	shell := "stty -a >before; " + bin + " watch web --etcd " + etcd.Endpoint() + "; echo EXIT=$?; stty -a | cmp - before && echo AS BEFORE; exec cat"
	x := newScreen(t, "100", "12", "cd "+t.TempDir()+" && sh -c '"+shell+"'")
	x.shows("web", ": 1 instance, 1 serving", "127.0.0.1:50051", "\x1b[32mserving", "q ends")

	if err := one.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.shows("\x1b[33mdraining", "changed")
	x.until("the change no longer stands out", func(screen string) bool { return !strings.Contains(screen, "changed") })

	// Another size is filled, and nothing of the former picture is left.
	x.tmux("resize-window", "-x", "40", "-y", "6")
	x.until("the window is filled anew", func(screen string) bool { return strings.Contains(screen, "…") && strings.Contains(screen, "one") })

	// What is known stays while nobody answers.
	etcd.Stop()
	x.tmux("resize-window", "-x", "100", "-y", "12")
	x.shows("no answer from etcd for", "127.0.0.1:50051")
	etcd.Restart()
	x.until("it is current again", func(screen string) bool {
		return !strings.Contains(screen, "no answer") && strings.Contains(screen, "127.0.0.1:50051")
	})

	x.tmux("send-keys", "q")
	x.shows("EXIT=0", "AS BEFORE")
}

func TestAWatchOnATerminalEndsByControlC(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	bin, err := exec.LookPath("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	x := newScreen(t, "80", "10", "sh -c '"+bin+" watch --etcd "+etcd.Endpoint()+"; echo EXIT=$?; exec cat'")
	x.shows("0 services", "SERVICE")
	x.tmux("send-keys", "C-c")
	x.shows("EXIT=130", "interrupted")
}
