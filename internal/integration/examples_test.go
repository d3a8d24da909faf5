package integration

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestTheExamplesOfTheReadmeFindEachOther(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	bin := buildExamples(t)
	reg := rollcall.New(etcd.Client(t))
	t.Cleanup(func() { _ = reg.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	server := exec.CommandContext(ctx, filepath.Join(bin, "server"), "-etcd", etcd.Endpoint(), "-listen", "127.0.0.1:0")
	var said bytes.Buffer
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	awaitExamples(ctx, t, reg, 1)

	greeting, err := exec.CommandContext(ctx, filepath.Join(bin, "client"), "-etcd", etcd.Endpoint()).CombinedOutput()
	if got, want := string(greeting), "Hello world\n"; err != nil || got != want {
		t.Errorf("the client says %q, %v; want %q", got, err, want)
	}

	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	awaitExamples(ctx, t, reg, 0)
	if err := <-ended; err != nil {
		t.Errorf("the interrupted server ended with %v, having said %q", err, said.String())
	}
}

// buildExamples builds the example programs as this test was built, so that compiled packages are shared with it.
func buildExamples(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	args := []string{"build", "-buildvcs=false", "-o", bin}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	build := exec.CommandContext(t.Context(), "go", append(args, "./examples/...")...)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the examples: %v\n%s", err, out)
	}
	return bin
}

// awaitExamples waits until the service of the examples has n instances.
func awaitExamples(ctx context.Context, t *testing.T, reg *rollcall.Registry, n int) {
	t.Helper()
	w := reg.Watch("jie-test")
	defer w.Close()
	for view, err := range w.Views(ctx) {
		if err != nil {
			t.Fatalf("wait for %d instances: %v", n, err)
		}
		if len(view.Instances) == n {
			return
		}
	}
}
