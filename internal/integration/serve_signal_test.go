//go:build unix

package integration

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

func raise(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstSignalEndsAServerInOrderAndTheSecondAtOnce(t *testing.T) {
	t.Parallel()
	caught := make(chan os.Signal, 4) // a Serve that does not heed them must not cost the process its life
	signal.Notify(caught, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(caught)

	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	g := newGreeter(t)
	g.work = 2 * grpcPatience
	g.serve(t, reg, rollcallgrpc.WithSignals(syscall.SIGUSR1, syscall.SIGUSR2),
		rollcallgrpc.WithDrainDelay(2*grpcPatience), rollcallgrpc.WithStopTimeout(2*grpcPatience))
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, g.addr) })
	conn, called := direct(t, g), make(chan error, 1)
	go func() {
		_, err := greet(t, conn)
		called <- err
	}()
	awaitCount(t, &g.calls, 1)

	raise(t, syscall.SIGUSR1)
	awaitGreeters(t, reg, func(v *rollcall.View) bool {
		i, found := v.Get(g.addr)
		return found && i.State == rollcall.StateDraining
	})
	select {
	case err := <-called:
		t.Fatalf("the first signal ended the call under way: %v", err)
	case <-g.ended:
		t.Fatal("the first signal ended the server at once")
	default:
	}

	raise(t, syscall.SIGUSR2)
	if err := g.wait(t); err != nil {
		t.Errorf("Serve: %v, want nil after a signal", err)
	}
	if err := <-called; err == nil {
		t.Error("the call that hangs has ended well")
	}
	wantStopped(t, g)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return !holds(v, g.addr) }) // the goodbye is said behind its back
}

// serveEnv makes this test binary a server instead, of the etcd that it names.
const serveEnv = "ROLLCALL_TEST_SERVE"

// TestServeProcess is no test: it is the program of startServeProcess, a server that heeds the signals of an ordinary process.
func TestServeProcess(t *testing.T) {
	endpoint := os.Getenv(serveEnv)
	if endpoint == "" {
		return
	}
	g := newGreeter(t)
	err := rollcallgrpc.Serve(context.Background(), g.srv, g, open(t, endpoint), grpcService, rollcallgrpc.WithSignals(),
		rollcallgrpc.WithDrainDelay(200*time.Millisecond),
		rollcallgrpc.WithReady(func(*rollcall.Registration) { fmt.Println("ready", g.addr) }))
	if err != nil {
		t.Fatal(err)
	}
}

// startServeProcess starts a server in a process of its own, and returns it and its address when it is ready.
func startServeProcess(t *testing.T, endpoint string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeProcess$")
	cmd.Env = append(os.Environ(), serveEnv+"="+endpoint)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !found {
		t.Fatalf("the process says %q, %v", line, err)
	}
	return cmd, addr
}

func TestAProcessEndsWellOnTheSignalsThatProcessesAreEndedWith(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t)
			w := watch(t, grpcRegistry(t, etcd), grpcService)
			process, addr := startServeProcess(t, etcd.Endpoint())
			until(t, w, grpcPatience, "the process registered", hasIDs(addr))
			if err := process.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			drained := false
			gone := until(t, w, grpcPatience, "the process gone", func(v *rollcall.View) bool {
				i, found := v.Get(addr)
				drained = drained || found && i.State == rollcall.StateDraining
				return !found
			})
			if !drained {
				t.Error("it left without draining")
			}
			for _, u := range gone.Updates {
				if u.Expired {
					t.Error("it left without a goodbye")
				}
			}
			if err := process.Wait(); err != nil {
				t.Errorf("the process ended with %v, want code 0", err)
			}
		})
	}
}
