// Package runner runs benchmarks: it builds each test binary once, and then runs rounds in which each benchmark is a process
// of its own, in another order each time, so that whatever else the machine does meanwhile hits all of them.
package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
)

// binaries are the test binaries of packages, by folder. One that could not be built is missing.
type binaries map[string]string

// build builds the test binaries that the benchmarks need. What cannot be built is noted, and the rest goes on.
func (r *Runner) build(ctx context.Context, benchmarks []figure.Benchmark) (binaries, error) {
	built := binaries{}
	for _, folder := range folders(benchmarks) {
		r.say("building %s", folder)
		binary := filepath.Join(r.Temp, strings.ReplaceAll(folder, "/", "-")+".test")
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, ".")
		cmd.Dir = filepath.Join(r.Root, filepath.FromSlash(folder))
		asGroup(cmd)
		output, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, missing := os.Stat(binary); err == nil && missing != nil {
			err = missing // go test -c makes none where there are no tests
		}
		if err != nil {
			r.failures++
			r.note("%s was left out, it does not build: %v: %s", folder, err, lastLines(string(output), 3))
			continue
		}
		built[folder] = binary
	}
	if len(built) == 0 && len(benchmarks) > 0 {
		return nil, fmt.Errorf("nothing could be built")
	}
	return built, nil
}

func folders(benchmarks []figure.Benchmark) []string {
	var list []string
	for _, b := range benchmarks {
		if !slices.Contains(list, b.Package) {
			list = append(list, b.Package)
		}
	}
	return list
}

// lastLines is the end of a text, in one line.
func lastLines(text string, n int) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	return strings.Join(lines[max(len(lines)-n, 0):], " / ")
}
