//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// shellWindow is a real terminal, with a shell in it: a window of tmux.
type shellWindow struct {
	t      *testing.T
	socket string
	dir    string // where the shell is
	port   string // a free one
	server string // the program to run
}

func openWindow(t *testing.T) *shellWindow {
	t.Helper()
	needProgram(t, "tmux")
	needProgram(t, "python3")
	short, err := os.MkdirTemp("", "tmux") // the path of a socket must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	server, err := filepath.Abs("testdata/run/server.py")
	if err != nil {
		t.Fatal(err)
	}
	w := &shellWindow{t: t, socket: filepath.Join(short, "s"), dir: t.TempDir(), port: freePort(t), server: server}
	cmd := exec.CommandContext(t.Context(), "tmux", "-S", w.socket, "-f", os.DevNull, "new-session", "-d", "-x", "150", "-y", "24", "sh")
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "ROLLCALL_ETCD="+etcdtest.Start(t).Endpoint(), "PS1=$ ", "ENV=", "TERM=xterm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("start tmux: %v, %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", w.socket, "kill-server").Run() })
	return w
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// tmux gives the window a command.
func (w *shellWindow) tmux(args ...string) string {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), "tmux", append([]string{"-S", w.socket}, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("tmux %v: %v, %s", args, err, out)
	}
	return string(out)
}

// enter types a line.
func (w *shellWindow) enter(line string) {
	w.t.Helper()
	w.tmux("send-keys", "-l", line)
	w.tmux("send-keys", "Enter")
}

// run types a rollcall run of the server that behaves in some way.
func (w *shellWindow) run(how string) {
	w.t.Helper()
	w.enter(fmt.Sprintf("rollcall run web 127.0.0.1:%s --drain 200ms -- python3 %s %s %s; echo it exited with $?", w.port, w.server, w.port, how))
}

// shows waits until a line on the screen has the text.
func (w *shellWindow) shows(text string) {
	w.t.Helper()
	w.await(text, func() string { return w.tmux("capture-pane", "-p", "-J") })
}

// noted waits until the program has noted the text.
func (w *shellWindow) noted(text string) {
	w.t.Helper()
	w.await(text, w.notes)
}

func (w *shellWindow) notes() string {
	notes, _ := os.ReadFile(filepath.Join(w.dir, "notes"))
	return string(notes)
}

func (w *shellWindow) await(text string, look func() string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		there := look()
		if strings.Contains(there, text) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("no %q after %v; there was:\n%s\nand was noted:\n%s", text, patience, there, w.notes())
		}
	}
}

func TestControlCOnATerminalDrainsFirst(t *testing.T) {
	t.Parallel()
	w := openWindow(t)
	w.run("looks")
	w.shows("rollcall: registered web/")
	w.tmux("resize-window", "-x", "99")
	w.noted("\n99 columns")

	w.tmux("send-keys", "C-c")
	w.shows("it exited with 0")
	w.shows("rollcall: draining web/")
	w.noted("SIGINT\n")
	w.noted("registry: exit 4, []")
	w.enter("echo $((6*7)) lives")
	w.shows("42 lives")
}

func TestControlCInAPipeDrainsFirst(t *testing.T) {
	t.Parallel()
	w := openWindow(t)
	w.enter(fmt.Sprintf("rollcall run web 127.0.0.1:%s --drain 200ms -- python3 %s %s looks 2>&1 | cat", w.port, w.server, w.port))
	w.shows("rollcall: registered web/")
	w.tmux("send-keys", "C-c") // ends cat, and what would be said cannot be
	w.noted("SIGINT\n")
	w.noted("registry: exit 4, []")
}

func TestAScriptGoesOnReadingTheTerminalAfterAProgramThatDid(t *testing.T) {
	t.Parallel()
	w := openWindow(t)
	script := fmt.Sprintf("rollcall run web 127.0.0.1:%s -- python3 %s %s asks; read line; echo it said $line", w.port, w.server, w.port)
	if err := os.WriteFile(filepath.Join(w.dir, "script"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	w.enter("sh script")
	w.shows("rollcall: registered web/")
	w.enter("e4")
	w.noted("read e4\n")
	w.enter("quit")
	w.shows("rollcall: deregistered web/")
	w.enter("thanks")
	w.shows("it said thanks")
}

func TestAProgramThatReadsTheTerminalHasIt(t *testing.T) {
	t.Parallel()
	w := openWindow(t)
	w.run("asks-looks")
	w.shows("rollcall: registered web/")
	w.shows("your turn: ")
	w.enter("e4")
	w.noted("read e4\n")
	w.tmux("resize-window", "-x", "98")
	w.noted("\n98 columns")

	// ^Z stops both, and the shell has the terminal; fg gives it back.
	w.tmux("send-keys", "C-z")
	w.shows("Stopped")
	w.enter("echo $((6*7)) lives")
	w.shows("42 lives")
	w.enter("fg")
	w.noted("SIGCONT")
	w.enter("d4")
	w.noted("read d4\n")

	// ^C is for the program now. The shell has the terminal afterwards.
	w.tmux("send-keys", "C-c")
	w.noted("SIGINT")
	w.shows("rollcall: deregistered web/")
	w.enter("echo $((6*8)) lives")
	w.shows("48 lives")
	if screen := w.tmux("capture-pane", "-p", "-J"); strings.Contains(screen, "draining") {
		t.Errorf("the program ended by itself, and yet it was drained:\n%s", screen)
	}
}

func TestAProgramInABackgroundJobIsStoppedWhenItReadsTheTerminal(t *testing.T) {
	t.Parallel()
	w := openWindow(t)
	w.enter(fmt.Sprintf("rollcall run web 127.0.0.1:%s --drain 0 -- python3 %s %s asks &", w.port, w.server, w.port))
	w.shows("your turn: ")
	w.await("T", func() string {
		out, _ := exec.CommandContext(t.Context(), "ps", "-o", "stat=", "-p", w.pid()).Output()
		return string(out)
	})
	w.enter("echo $((6*7)) lives")
	w.shows("42 lives")
	w.enter("")
	w.shows("Stopped")
	w.enter("fg")
	w.enter("e4")
	w.noted("read e4\n")
	w.tmux("send-keys", "C-c")
	w.shows("python3 exited with 0")
}

// pid is the program's.
func (w *shellWindow) pid() string {
	first, _, _ := strings.Cut(w.notes(), "\n")
	return strings.TrimPrefix(first, "pid ")
}
