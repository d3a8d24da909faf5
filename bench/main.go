// Command bench runs everything that is measured, beside the peers, and makes a page of it.
//
//	make bench                                    # from the root: everything, in half an hour
//	go run . -run 'weight|ready' -rounds 3        # in this folder: some figures
//	go run . -report results/2026-11-23.txt       # the page once more
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
	"github.com/rollcall-io/rollcall/bench/internal/machine"
	"github.com/rollcall-io/rollcall/bench/internal/report"
	"github.com/rollcall-io/rollcall/bench/internal/result"
	"github.com/rollcall-io/rollcall/bench/internal/runner"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	run     *regexp.Regexp
	rounds  int
	seed    uint64
	budget  time.Duration
	quick   bool
	root    string
	results string // folder; "" for none
	report  string
	more    []string // raw files for the same page
	list    bool
}

const (
	usualBudget = 29 * time.Minute
	quickBudget = 150 * time.Second
)

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	pattern := flags.String("run", "", "regular `expression` for the ids of figures, or the names of their benchmarks; all, if empty")
	flags.IntVar(&o.rounds, "rounds", 5, "how often everything is measured; 1 with -quick")
	flags.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "of the order within the rounds; by chance, if not given")
	flags.DurationVar(&o.budget, "budget", usualBudget, "for everything but building: what does not fit is left out; 2m30s with -quick")
	flags.BoolVar(&o.quick, "quick", false, "small sizes and one round, and the page on the standard output instead of in a file")
	flags.StringVar(&o.root, "root", "..", "`folder` of the repository")
	flags.StringVar(&o.results, "results", "results", "`folder` for the raw file, the page and its drawings")
	flags.StringVar(&o.report, "report", "", "run nothing, and make the page of this raw `file` again, with what is in further ones that are named after it")
	flags.BoolVar(&o.list, "list", false, "run nothing, and list the figures")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.quick && !given["rounds"] {
		o.rounds = 1
	}
	if o.quick && !given["budget"] {
		o.budget = quickBudget
	}
	if (o.quick || given["run"]) && !given["results"] {
		o.results = "" // a page of some figures would take the place of the page of all
	}
	if o.more = flags.Args(); len(o.more) > 0 && o.report == "" || o.rounds < 1 || o.budget <= 0 {
		return o, fmt.Errorf("want no arguments, rounds and a budget; have %q, %d and %v", flags.Args(), o.rounds, o.budget)
	}
	var err error
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	o.root, err = filepath.Abs(o.root)
	return o, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case o.report != "":
		return remake(o.report, o.more...)
	}
	figures, benchmarks := figure.Of(figure.Figures(), figure.Benchmarks(), o.run)
	if len(figures) == 0 {
		return fmt.Errorf("no figure is called so; -list lists them")
	}
	if o.list {
		for _, f := range figures {
			fmt.Fprintf(stdout, "%-32s %s\n", f.ID, f.Title)
		}
		return nil
	}
	return measure(ctx, o, figures, benchmarks, stdout, stderr)
}

// measure runs the benchmarks, and makes the page, also of what is there when it is interrupted.
func measure(ctx context.Context, o options, figures []figure.Figure, benchmarks []figure.Benchmark, stdout, stderr io.Writer) error {
	temp, err := os.MkdirTemp("", "rollcall-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	var raw bytes.Buffer
	file, to, began := "", io.Writer(&raw), time.Now()
	if o.results != "" {
		file = filepath.Join(o.results, began.UTC().Format(time.DateOnly)+suffix())
		if err := os.MkdirAll(o.results, 0o755); err != nil {
			return err
		}
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		to = io.MultiWriter(f, &raw)
	}
	out, err := result.NewWriter(to, facts(ctx, o, began))
	if err != nil {
		return err
	}
	r := runner.Runner{Root: o.root, Temp: temp, Rounds: o.rounds, Seed: o.seed, Short: o.quick, Budget: o.budget, Out: out, Progress: stderr}
	failed := r.Run(ctx, benchmarks)
	if file != "" {
		return errors.Join(failed, remake(file))
	}
	measured, err := result.Read(&raw)
	if err != nil {
		return errors.Join(failed, err)
	}
	_, err = io.WriteString(stdout, report.Make(measured, figures, figure.Bars(), "").Text)
	return errors.Join(failed, err)
}

func facts(ctx context.Context, o options, began time.Time) []result.Fact {
	list := []result.Fact{
		{Key: "date", Value: began.UTC().Format(time.RFC3339)},
		{Key: "rounds", Value: fmt.Sprint(o.rounds)},
		{Key: "seed", Value: fmt.Sprint(o.seed)},
	}
	if o.quick {
		list = append(list, result.Fact{Key: "quick", Value: "small sizes only: good for whether it works, not for comparing"})
	}
	if os.Getenv(longEnv) != "" {
		list = append(list, result.Fact{Key: "long", Value: "the greatest sizes included"})
	}
	return append(list, machine.Facts(ctx, o.root)...)
}

const (
	longEnv   = "ROLLCALL_BENCH_LONG" // has benchmarks include their greatest sizes
	rawSuffix = ".txt"
)

// suffix tells runs with the greatest sizes, of which there are fewer rounds, from those without.
func suffix() string {
	if os.Getenv(longEnv) != "" {
		return "-long" + rawSuffix
	}
	return rawSuffix
}

// remake makes the page of a raw file, beside it.
func remake(file string, more ...string) error {
	base, is := strings.CutSuffix(file, rawSuffix)
	if !is {
		return fmt.Errorf("%s is no raw file: its name would end in %s", file, rawSuffix)
	}
	measured, err := read(file)
	if err != nil {
		return err
	}
	for _, file := range more {
		other, err := read(file)
		if err != nil {
			return err
		}
		measured.Add(other)
	}
	page := report.Make(measured, figure.Figures(), figure.Bars(), filepath.Base(base))
	if err := os.RemoveAll(base); err != nil { // drawings of a figure that is no more
		return err
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	for name, drawing := range page.Drawings {
		if err := os.WriteFile(filepath.Join(base, name), []byte(drawing), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(base+".md", []byte(page.Text), 0o644)
}

func read(file string) (*result.Run, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	run, err := result.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return run, nil
}
