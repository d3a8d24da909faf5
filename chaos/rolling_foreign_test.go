package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rollcall-io/rollcall/chaos/rolling"
)

// runtimes run callers in other languages, by how the names of their programs end: a command and what its environment needs.
var runtimes = map[string]func(t *testing.T) (command, env []string){".py": pythonWithGRPC, ".js": nodeWithXDS}

// callerOf is a caller by its program: one of ours in Go, or a script.
func callerOf(t *testing.T, name string, args ...string) rolling.Caller {
	t.Helper()
	c := rolling.Caller{Name: name}
	if runtime := runtimes[filepath.Ext(name)]; runtime == nil {
		c.Command = []string{program(t, name)}
	} else {
		c.Command, c.Env = runtime(t)
		c.Command = append(c.Command, filepath.Join("rolling/xdscaller", name))
	}
	c.Command = append(c.Command, args...)
	return c
}

func pythonWithGRPC(t *testing.T) (command, env []string) {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's own, which its packages are for
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import grpc").CombinedOutput(); err != nil {
		lacking(t, fmt.Errorf("Python's gRPC is missing, make deps installs it: %w, %s", err, out))
	}
	return []string{python}, nil
}

func nodeWithXDS(t *testing.T) (command, env []string) {
	t.Helper()
	modules, err := filepath.Abs("../tools/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	_, missing := os.Stat(filepath.Join(modules, "@grpc/grpc-js-xds"))
	if err := errors.Join(err, missing); err != nil {
		lacking(t, fmt.Errorf("Node or its xDS is missing, make deps installs them: %w", err))
	}
	return []string{node}, []string{"NODE_PATH=" + modules}
}
