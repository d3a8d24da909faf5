package integration

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// processEnv makes this test binary an instance instead: "endpoint service addr ttl".
const processEnv = "ROLLCALL_TEST_INSTANCE"

// TestProcess is no test: it is the program of startProcess. It registers, says so, and holds until its input ends.
func TestProcess(t *testing.T) {
	spec := os.Getenv(processEnv)
	if spec == "" {
		return
	}
	var endpoint, service, addr string
	var ttl time.Duration
	if _, err := fmt.Sscan(strings.ReplaceAll(spec, ",", " "), &endpoint, &service, &addr, (*seconds)(&ttl)); err != nil {
		t.Fatal(err)
	}
	reg := open(t, endpoint)
	register(t, reg, service, rollcall.Instance{Addr: addr}, rollcall.WithTTL(ttl))
	fmt.Println("registered")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

type seconds time.Duration

func (s *seconds) Scan(state fmt.ScanState, _ rune) error {
	var n int
	_, err := fmt.Fscan(state, &n)
	*s = seconds(time.Duration(n) * time.Second)
	return err
}

// startProcess starts a process of its own that holds a registration.
func startProcess(t *testing.T, endpoint, service, addr string, ttl time.Duration) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%s,%s,%d", processEnv, endpoint, service, addr, ttl/time.Second))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "registered\n" {
		t.Fatalf("the process says %q, %v", line, err)
	}
	return cmd
}

func TestAKilledProcessIsGoneAfterItsTTLAndNotBefore(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	const ttl = 5 * time.Second
	w := watch(t, reg, "svc")
	next(t, w)
	victim := startProcess(t, etcd.Endpoint(), "svc", "10.0.0.1:1", ttl)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	until(t, w, 10*time.Second, "both", hasIDs("10.0.0.1:1", "10.0.0.2:1"))

	// Let it live through several heartbeats: it must not be the first grant that keeps it.
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if v, err := w.Next(ctx); err == nil {
		t.Fatalf("something changed while nothing happened: %v", describe(v.Updates))
	}
	killed := time.Now()
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// TTL + 0.5 s is etcd's; the rest is margin for a machine that runs much else.
	v := until(t, w, ttl+500*time.Millisecond+3*time.Second, "the killed one gone", hasIDs("10.0.0.2:1"))
	mustEqual(t, "updates", describe(v.Updates), []string{"expire 10.0.0.1:1"})
	if after := time.Since(killed); after < ttl/2 {
		t.Errorf("gone after %v: its last heartbeat was at most a third of the TTL old", after)
	}
}
