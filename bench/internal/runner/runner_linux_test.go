package runner

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
	"github.com/rollcall-io/rollcall/bench/internal/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repository is one with two packages of benchmarks, of which one does not build.
var repository = map[string]string{
	"go.mod":             "module github.com/rollcall-io/rollcall\n\ngo 1.26.0\n",
	"broken/x_test.go":   "package broken\n\nnot go\n",
	"good/testdata/read": "17\n",
	"good/x_test.go": `package good

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func BenchmarkReads(b *testing.B) {
	text, err := os.ReadFile("testdata/read")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
	}
	var value float64
	fmt.Sscan(string(text), &value)
	b.ReportMetric(value, "rollcall-ms")
	b.ReportMetric(float64(b.N), "times")
	if testing.Short() {
		b.ReportMetric(1, "short")
	}
}

func BenchmarkSkips(b *testing.B) { b.Skip("there is nothing to measure with") }

func BenchmarkFails(b *testing.B) { b.Fatal("it is not well") }

// BenchmarkHangs leaves a process behind, whose id it writes down.
func BenchmarkHangs(b *testing.B) {
	sleep := exec.Command("sleep", "600")
	if err := sleep.Start(); err != nil {
		b.Fatal(err)
	}
	os.WriteFile("testdata/pid.new", []byte(strings.TrimSpace(fmt.Sprint(sleep.Process.Pid))), 0o600)
	os.Rename("testdata/pid.new", "testdata/pid")
	select {}
}
`,
}

// started is a runner with a repository.
func started(t *testing.T, out io.Writer) *Runner {
	t.Helper()
	root := t.TempDir()
	for name, text := range repository {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w, err := result.NewWriter(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Runner{Root: root, Temp: t.TempDir(), Rounds: 2, Seed: 1, Budget: 5 * time.Minute, Out: w, Progress: t.Output()}
}

func good(name string) figure.Benchmark {
	return figure.Benchmark{Package: "good", Pattern: "^Benchmark" + name + "$"}
}

func TestWhatFailsIsNotedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := started(t, &out)
	r.Short = true
	often := good("Reads")
	often.Time, often.Short = "7x", "3x"
	err := r.Run(t.Context(), []figure.Benchmark{good("Fails"), good("Skips"), often, {Package: "broken", Pattern: "^BenchmarkX$"}})
	if !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	run, err := result.Read(strings.NewReader(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	var got []result.Sample
	for _, s := range run.Samples {
		delete(s.Metrics, "ns/op")
		got = append(got, s)
	}
	metrics := map[string]float64{"rollcall-ms": 17, "times": 3, "short": 1}
	want := []result.Sample{
		{Package: "github.com/rollcall-io/rollcall/good", Name: "Reads", Round: 1, Metrics: metrics},
		{Package: "github.com/rollcall-io/rollcall/good", Name: "Reads", Round: 2, Metrics: metrics},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, said := range []string{"broken was left out, it does not build", "Fails failed in round 1: exit status 1", "Fails failed in round 2", "Skips has measured nothing in round 1", "it is not well"} {
		if !slices.ContainsFunc(run.Notes, func(note string) bool { return strings.Contains(note, said) }) {
			t.Errorf("no note says %q: %q", said, run.Notes)
		}
	}
}

func TestAHangEndsWithAllThatItStarted(t *testing.T) {
	t.Parallel()
	r := started(t, io.Discard)
	r.Rounds = 1
	hang := good("Hangs")
	hang.Limit = time.Second
	if err := r.Run(t.Context(), []figure.Benchmark{hang}); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	gone(t, filepath.Join(r.Root, "good", "testdata", "pid"))
}

func TestAnInterruptionEndsEverything(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := started(t, &out)
	ctx, interrupt := context.WithCancelCause(t.Context())
	why := errors.New("somebody has typed ^C")
	pid := filepath.Join(r.Root, "good", "testdata", "pid")
	var interrupting sync.WaitGroup
	defer interrupting.Wait()
	interrupting.Go(func() {
		wait(t, "it is there", func() bool { _, err := os.Stat(pid); return err == nil })
		interrupt(why)
	})
	if err := r.Run(ctx, []figure.Benchmark{good("Hangs")}); !errors.Is(err, why) {
		t.Errorf("it ended with %v", err)
	}
	gone(t, pid)
}

func TestNothingBeginsThatTheBudgetDoesNotAllow(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := started(t, &out)
	r.began = time.Now()
	r.end = r.began.Add(30 * time.Second)
	built := binaries{"good": "no such program"}
	benchmarks := []figure.Benchmark{good("Long"), good("Short")}
	r.round(t.Context(), 2, built, benchmarks, map[string]time.Duration{benchmarks[0].Pattern: time.Minute, benchmarks[1].Pattern: time.Millisecond})
	run, err := result.Read(strings.NewReader(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(run.Notes, "\n")
	if !strings.Contains(notes, "round 2 is without [good/Long]") || !strings.Contains(notes, "Short failed in round 2") {
		t.Errorf("notes: %s", notes)
	}
}

func TestTheOrderIsAnotherInEachRoundAndTheSameForASeed(t *testing.T) {
	t.Parallel()
	r := &Runner{Seed: 7}
	first := r.order(1, 10)
	if diff := cmp.Diff(first, r.order(1, 10)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(first, r.order(2, 10)) || cmp.Equal(first, (&Runner{Seed: 8}).order(1, 10)) {
		t.Errorf("%v again", first)
	}
	if got := slices.Sorted(slices.Values(first)); !cmp.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("%v is no order of ten", first)
	}
}

// gone waits until a process whose id is in a file is no more.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strconv.Atoi(string(text)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the process is gone", func() bool { return !alive(string(text)) })
}

// alive says whether there is a process that is not only waited for.
func alive(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func wait(t *testing.T, what string, until func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !until(); <-tick.C {
		if time.Now().After(end) {
			t.Errorf("a minute later, not: %s", what)
			return
		}
	}
}
