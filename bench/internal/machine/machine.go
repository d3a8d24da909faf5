// Package machine says where and of what something was measured: the machine, the versions, the commit.
package machine

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/rollcall-io/rollcall/bench/internal/result"
)

// Facts returns what is known, in the order in which it is shown. What cannot be found out is left out, or said.
func Facts(ctx context.Context, root string) []result.Fact {
	facts := []result.Fact{
		{Key: "cpu", Value: cmp.Or(field("/proc/cpuinfo", "model name"), runtime.GOARCH)},
		{Key: "cores", Value: fmt.Sprint(runtime.NumCPU())},
		{Key: "memory", Value: memory()},
		{Key: "kernel", Value: output(ctx, root, "uname", "-sr")},
		{Key: "go", Value: output(ctx, root, "go", "env", "GOVERSION")},
		{Key: "commit", Value: cmp.Or(output(ctx, root, "git", "rev-parse", "--short=12", "HEAD"), "unknown")},
		{Key: "tree", Value: tree(ctx, root)},
	}
	return append(facts, versions(ctx, root)...)
}

// output is what a command prints, or "".
func output(ctx context.Context, dir, name string, args ...string) string {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// field is the first value of a key in one of the files in which Linux describes itself.
func field(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, is := strings.Cut(lines.Text(), ":"); is && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memory() string {
	var kib float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f kB", &kib); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", kib/(1<<20))
}

// tree says whether what was measured is what the commit has. Results of earlier runs do not count.
func tree(ctx context.Context, root string) string {
	cmd := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ".", ":!bench/results")
	cmd.Dir = root
	switch out, err := cmd.Output(); {
	case err != nil:
		return "unknown"
	case len(out) > 0:
		return "changed since the commit"
	}
	return "as committed"
}

// modules are those whose versions are shown, and the go.mod that decides on them.
var modules = []struct{ name, file, path string }{
	{"etcd", "go.mod", "go.etcd.io/etcd/server/v3"},
	{"grpc-go", "go.mod", "google.golang.org/grpc"},
	{"go-control-plane", "go.mod", "github.com/envoyproxy/go-control-plane"},
	{"coredns", "tools/coredns/go.mod", "github.com/coredns/coredns"},
	{"go-zero", "chaos/peers/go.mod", "github.com/zeromicro/go-zero"},
	{"kratos", "chaos/peers/go.mod", "github.com/go-kratos/kratos/v2"},
	{"gf", "chaos/peers/go.mod", "github.com/gogf/gf/v2"},
	{"jupiter", "chaos/peers/go.mod", "github.com/douyu/jupiter"},
	{"kitex", "chaos/peers/go.mod", "github.com/cloudwego/kitex"},
}

func versions(ctx context.Context, root string) []result.Fact {
	var facts []result.Fact
	files := map[string]map[string]string{}
	for _, m := range modules {
		if files[m.file] == nil {
			files[m.file] = required(ctx, filepath.Join(root, filepath.FromSlash(m.file)))
		}
		if version := files[m.file][m.path]; version != "" {
			facts = append(facts, result.Fact{Key: m.name, Value: version})
		}
	}
	return facts
}

// required returns what a go.mod requires.
func required(ctx context.Context, file string) map[string]string {
	var mod struct {
		Require []struct{ Path, Version string }
	}
	versions := map[string]string{}
	if json.Unmarshal([]byte(output(ctx, filepath.Dir(file), "go", "mod", "edit", "-json", filepath.Base(file))), &mod) == nil {
		for _, r := range mod.Require {
			versions[r.Path] = r.Version
		}
	}
	return versions
}
