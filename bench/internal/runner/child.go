package runner

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
)

const (
	usualLimit = 5 * time.Minute
	margin     = 10 * time.Second // for the testing package to say where a benchmark hangs, before its process is ended
)

// run runs a benchmark once, and returns what it printed.
func (r *Runner) run(ctx context.Context, binary string, b figure.Benchmark) (string, error) {
	limit := min(cmp.Or(b.Limit, usualLimit), max(time.Until(r.end), time.Second))
	ctx, cancel := context.WithTimeout(ctx, limit+margin)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, r.arguments(b, limit)...)
	cmd.Dir = filepath.Join(r.Root, filepath.FromSlash(b.Package))
	cmd.WaitDelay = margin // for pipes that something else still holds
	asGroup(cmd)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	endGroup(cmd)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, context.DeadlineExceeded) {
			err = fmt.Errorf("not done within %v", limit)
		}
		return out.String(), fmt.Errorf("%w: %s", err, lastLines(out.String()+"\n"+complaints.String(), 6))
	}
	return out.String(), nil
}

func (r *Runner) arguments(b figure.Benchmark, limit time.Duration) []string {
	times := cmp.Or(b.Time, "1x")
	if r.Short {
		times = cmp.Or(b.Short, times)
	}
	args := []string{"-test.run", "^$", "-test.bench", b.Pattern, "-test.benchtime", times, "-test.count", "1", "-test.timeout", limit.String()}
	if r.Short {
		args = append(args, "-test.short")
	}
	return args
}
