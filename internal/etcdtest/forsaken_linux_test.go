package etcdtest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// forsakenEnv makes TestForsaken the program that it is.
const forsakenEnv = "ROLLCALL_TEST_FORSAKEN"

// TestForsaken is no test: it is the program of TestNoMemberOutlivesTheTests. It starts a cluster of which one member
// hangs, says where the members are, and waits for its end.
func TestForsaken(t *testing.T) {
	if os.Getenv(forsakenEnv) == "" {
		return
	}
	c := etcdtest.StartCluster(t, 2)
	c.Member(1).Hang()
	fmt.Println("members:", strings.Join(c.Endpoints(), " "))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestNoMemberOutlivesTheTests(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestForsaken$")
	cmd.Env = append(os.Environ(), forsakenEnv+"=1", "TMPDIR="+t.TempDir()) // it cannot clean up after itself
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	endpoints := members(out)
	if len(endpoints) == 2 && refuses(t, endpoints[1]) {
		t.Error("a member that hangs refuses connections while its test runs")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(endpoints) != 2 {
		t.Fatalf("the test that is forsaken has members at %q, want two", endpoints)
	}
	deadline := time.Now().Add(timeout)
	for _, endpoint := range endpoints {
		for !refuses(t, endpoint) {
			if time.Now().After(deadline) {
				t.Fatalf("the member at %s outlives its test", endpoint)
			}
		}
	}
}

// members reads what TestForsaken says.
func members(out io.Reader) []string {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if said, ok := strings.CutPrefix(lines.Text(), "members: "); ok {
			return strings.Fields(said)
		}
	}
	return nil
}
