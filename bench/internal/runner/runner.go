package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"time"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
	"github.com/rollcall-io/rollcall/bench/internal/result"
)

// A Runner runs rounds of benchmarks.
type Runner struct {
	Root     string // of the repository
	Temp     string // folder for test binaries
	Rounds   int
	Seed     uint64        // of the order
	Short    bool          // leave out the great sizes
	Budget   time.Duration // for everything but building
	Out      *result.Writer
	Progress io.Writer

	began, end time.Time
	failures   int   // of benchmarks, and of packages that do not build
	unwritten  error // what could not be written
}

// ErrFailed is returned when something was measured, and something else failed.
var ErrFailed = errors.New("something failed")

// Run builds and runs the benchmarks. Those that fail are noted, and the others go on. When the budget does not allow for
// another benchmark, as long as that took before, it is left out. A context that ends ends everything at once.
func (r *Runner) Run(ctx context.Context, benchmarks []figure.Benchmark) error {
	r.began = time.Now()
	built, err := r.build(ctx, benchmarks)
	if err != nil {
		return err
	}
	r.end = time.Now().Add(r.Budget)
	took := map[string]time.Duration{} // by pattern: the last time
	for round := 1; round <= r.Rounds && ctx.Err() == nil; round++ {
		r.round(ctx, round, built, benchmarks, took)
	}
	r.note("it took %v", time.Since(r.began).Round(time.Second))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.unwritten == nil && r.failures > 0:
		return fmt.Errorf("%w: %d times, the page says which", ErrFailed, r.failures)
	}
	return r.unwritten
}

func (r *Runner) round(ctx context.Context, round int, built binaries, benchmarks []figure.Benchmark, took map[string]time.Duration) {
	var without []string
	for done, i := range r.order(round, len(benchmarks)) {
		b := benchmarks[i]
		binary, is := built[b.Package]
		if !is || ctx.Err() != nil {
			continue
		}
		if time.Until(r.end) < max(took[b.Pattern], time.Second) {
			without = append(without, path.Join(b.Package, b.Name()))
			continue
		}
		r.say("round %d of %d, %d of %d: %s%s", round, r.Rounds, done+1, len(benchmarks), path.Join(b.Package, b.Name()), r.togo(round, done, benchmarks, took))
		began := time.Now()
		output, err := r.run(ctx, binary, b)
		took[b.Pattern] = time.Since(began)
		if ctx.Err() != nil {
			return
		}
		lines, unwritten := r.Out.Lines(path.Join(result.Module, b.Package), round, output)
		if r.unwritten == nil {
			r.unwritten = unwritten
		}
		switch {
		case err != nil:
			r.failures++
			r.note("%s failed in round %d: %v", path.Join(b.Package, b.Name()), round, err)
		case lines == 0:
			r.note("%s has measured nothing in round %d: %s", path.Join(b.Package, b.Name()), round, lastLines(output, 2))
		}
	}
	if len(without) > 0 {
		r.note("round %d is without %v: the %v there are for everything were over", round, without, r.Budget)
	}
}

// order is that of a round: another in each, and the same for the same seed.
func (r *Runner) order(round, n int) []int {
	return rand.New(rand.NewPCG(r.Seed, uint64(round))).Perm(n)
}

// togo says how long it still takes, as far as that is known.
func (r *Runner) togo(round, done int, benchmarks []figure.Benchmark, took map[string]time.Duration) string {
	var all time.Duration
	for _, b := range benchmarks {
		if took[b.Pattern] == 0 {
			return ""
		}
		all += took[b.Pattern]
	}
	left := all*time.Duration(r.Rounds-round) + all*time.Duration(len(benchmarks)-done)/time.Duration(len(benchmarks))
	return fmt.Sprintf(", about %v to go", min(left, time.Until(r.end)).Round(time.Second))
}

// say says to whoever waits what goes on.
func (r *Runner) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.Progress, "%6s  %s\n", time.Since(r.began).Round(time.Second), fmt.Sprintf(format, args...)) // to a terminal
}

// note says something, and puts it into the file.
func (r *Runner) note(format string, args ...any) {
	r.say(format, args...)
	if err := r.Out.Note(format, args...); err != nil && r.unwritten == nil {
		r.unwritten = err
	}
}
