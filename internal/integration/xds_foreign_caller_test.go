package integration

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
)

// xdsPace is the time from one call of a caller to its next.
const xdsPace = 3 * time.Millisecond

// pacedCaller calls a service at a steady pace by the xDS client of its language.
type pacedCaller struct {
	*caller

	language string
	losses   []loss // guarded by the caller's mu
}

// loss is a call that failed.
type loss struct {
	began time.Time
	took  time.Duration
	code  string
	text  string
}

func (l loss) String() string {
	return fmt.Sprintf("%s after %v: %s", l.code, l.took, l.text)
}

// answered counts a call that was answered.
func (c *pacedCaller) answered(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally[addr]++
}

// counted returns who answered how many calls since the counting began.
func (c *pacedCaller) counted() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.tally)
}

func (c *pacedCaller) lost(l loss) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.losses = append(c.losses, l)
}

// takeLosses returns the calls that failed since it was asked last.
func (c *pacedCaller) takeLosses() []loss {
	c.mu.Lock()
	defer c.mu.Unlock()
	losses := c.losses
	c.losses = nil
	return losses
}

// xdsRuntime is how callers in a language are started, with a bootstrap.
type xdsRuntime struct {
	language string
	start    func(t *testing.T, bootstrap []byte) *pacedCaller
	ask      func(t *testing.T, bootstrap []byte) *asker
}

// xdsRuntimes are the languages whose xDS clients nobody here wrote.
func xdsRuntimes(t *testing.T) []xdsRuntime {
	t.Helper()
	python, node := pythonWithGRPC(t), nodeWithXDS(t)
	return []xdsRuntime{
		{"Go", startPacedGo, goAsker().askBy("Go", "-test.run=^TestAsker$")},
		{"Python", python.startPaced("Python", "call.py"), python.askBy("Python", "testdata/xds/ask.py")},
		{"Node", node.startPaced("Node", "call.js"), node.askBy("Node", "testdata/xds/ask.js")},
	}
}

func pythonWithGRPC(t *testing.T) foreignRuntime {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's own, which its packages are for
	if out, err := exec.Command(python, "-c", "import grpc").CombinedOutput(); err != nil {
		lacking(t, fmt.Errorf("Python's gRPC is missing, make deps installs it: %w, %s", err, out))
	}
	return foreignRuntime{program: python}
}

func nodeWithXDS(t *testing.T) foreignRuntime {
	t.Helper()
	modules, err := filepath.Abs("../../tools/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@grpc/grpc-js-xds")); err != nil {
		lacking(t, fmt.Errorf("Node's xDS is missing, make deps installs it: %w", err))
	}
	return foreignRuntime{program: programOf(t, "node"), env: []string{"NODE_PATH=" + modules}}
}

// startPacedGo starts a caller by grpc-go's own xDS client, in this process.
func startPacedGo(t *testing.T, bootstrap []byte) *pacedCaller {
	t.Helper()
	conn := dialXDS(t, grpcService, bootstrap)
	ctx, cancel := context.WithCancel(context.Background())
	c := &pacedCaller{caller: &caller{t: t, tally: map[string]int{}}, language: "Go"}
	var calling sync.WaitGroup
	calling.Go(func() {
		tick := time.NewTicker(xdsPace)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				calling.Go(func() { c.callPaced(conn) })
			case <-ctx.Done():
				return
			}
		}
	})
	c.stop = sync.OnceFunc(func() {
		cancel()
		calling.Wait()
		_ = conn.Close()
	})
	t.Cleanup(c.stop)
	return c
}

func (c *pacedCaller) callPaced(conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	began := time.Now()
	reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{})
	if err != nil {
		c.lost(lossOf(began, err))
		return
	}
	c.answered(reply.GetMessage())
}

// startPaced returns what starts a program of testdata/xds as a process.
func (r foreignRuntime) startPaced(language, script string) func(*testing.T, []byte) *pacedCaller {
	return func(t *testing.T, bootstrap []byte) *pacedCaller {
		t.Helper()
		file := filepath.Join(t.TempDir(), "bootstrap.json")
		if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(r.program, filepath.Join("testdata/xds", script), grpcService)
		cmd.Env = append(append(os.Environ(), r.env...), "GRPC_XDS_BOOTSTRAP="+file)
		tie(cmd)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		said := new(strings.Builder)
		cmd.Stderr = said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c := &pacedCaller{caller: &caller{t: t, tally: map[string]int{}}, language: language}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for lines := bufio.NewScanner(out); lines.Scan(); {
				c.hear(lines.Text())
			}
			_ = cmd.Wait()
		}()
		c.stop = sync.OnceFunc(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
		t.Cleanup(func() {
			c.stop()
			if t.Failed() {
				t.Logf("%s says:\n%s", script, said)
			}
		})
		return c
	}
}

// hear takes a line of a process in.
func (c *pacedCaller) hear(line string) {
	word, rest, _ := strings.Cut(line, " ")
	if word == "ok" {
		c.answered(rest)
		return
	}
	c.lost(readLoss(rest))
}

// readLoss reads what a process says of a call that failed.
func readLoss(text string) loss {
	fields := strings.SplitN(text, " ", 4)
	if len(fields) < 4 {
		return loss{code: "not understood", text: text}
	}
	began, _ := strconv.ParseInt(fields[0], 10, 64)
	took, _ := strconv.ParseInt(fields[1], 10, 64)
	return loss{time.UnixMilli(began), time.Duration(took) * time.Millisecond, fields[2], fields[3]}
}
