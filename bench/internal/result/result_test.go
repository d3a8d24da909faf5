package result

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const file = `date: 2026-11-23T07:04:41Z
cpu: Some Processor: 2 GHz
# note something was left out
pkg: example.com/a
BenchmarkChange/N=1000/weight-2         	       1	         0 ns/op	       310.5 rollcall-cpu-µs	      7012 etcd-rr-cpu-µs
--- BENCH: BenchmarkChange/N=1000/weight-2
    bench_test.go:88: 32 changes were gathered into 30 updates
goroutine 1 [running]: no fact
PASS
# round 2
pkg: example.com/b
BenchmarkHistory/10000-16 	   20000	      2381 ns/op	       330.5 B/event
BenchmarkBroken-2   	       1	 number ns/op
BenchmarkOdd-2   	       1	 12 ns/op 13
ok  	example.com/b	1.2s
`

func TestAFileIsRead(t *testing.T) {
	t.Parallel()
	got, err := Read(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	want := &Run{
		Meta:  []Fact{{"date", "2026-11-23T07:04:41Z"}, {"cpu", "Some Processor: 2 GHz"}},
		Notes: []string{"something was left out"},
		Samples: []Sample{
			{"example.com/a", "Change/N=1000/weight", 1, map[string]float64{"ns/op": 0, "rollcall-cpu-µs": 310.5, "etcd-rr-cpu-µs": 7012}},
			{"example.com/b", "History/10000", 2, map[string]float64{"ns/op": 2381, "B/event": 330.5}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Fact("cpu") != "Some Processor: 2 GHz" || got.Fact("nothing") != "" {
		t.Errorf("%q %q", got.Fact("cpu"), got.Fact("nothing"))
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w, err := NewWriter(&out, []Fact{{"seed", "7"}, {"kernel", "one\nline"}})
	if err != nil {
		t.Fatal(err)
	}
	for round := 1; round <= 2; round++ {
		for _, pkg := range []string{"a", "b"} {
			output := "goos: linux\npkg: whatever\nBenchmarkX/" + pkg + "-2 1 5 ns/op\nPASS\n"
			if n, err := w.Lines(pkg, round, output); err != nil || n != 1 {
				t.Fatal(err)
			}
		}
		if err := w.Note("after\nround %d", round); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(strings.NewReader(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	five := map[string]float64{"ns/op": 5}
	want := &Run{
		Meta:    []Fact{{"seed", "7"}, {"kernel", "one line"}},
		Notes:   []string{"after round 1", "after round 2"},
		Samples: []Sample{{"a", "X/a", 1, five}, {"b", "X/b", 1, five}, {"a", "X/a", 2, five}, {"b", "X/b", 2, five}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRunsAreAddedAsFurtherRounds(t *testing.T) {
	t.Parallel()
	run := &Run{Meta: []Fact{{"date", "one"}}, Notes: []string{"a"}, Samples: []Sample{{Name: "X", Round: 1}, {Name: "X", Round: 2}}}
	run.Add(&Run{Meta: []Fact{{"date", "two"}}, Notes: []string{"b"}, Samples: []Sample{{Name: "X", Round: 1}, {Name: "Y", Round: 1}}})
	want := &Run{
		Meta: []Fact{{"date", "one"}}, Notes: []string{"a", "in the run of two: b"},
		Samples: []Sample{{Name: "X", Round: 1}, {Name: "X", Round: 2}, {Name: "X", Round: 3}, {Name: "Y", Round: 3}},
	}
	if diff := cmp.Diff(want, run); diff != "" {
		t.Error(diff)
	}
}

// Without another config line between two runs of a benchmark, benchstat takes them for two samples of one.
func TestRoundsAreNoFactsToBenchstat(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w, _ := NewWriter(&out, nil)
	for round := range 3 {
		if _, err := w.Lines("a", round+1, "BenchmarkX 1 5 ns/op\n"); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(out.String(), "pkg:"); got != 1 || strings.Contains(out.String(), "\nround:") {
		t.Errorf("%d in %q", got, out.String())
	}
}

func TestAnyLineIsReadOrNot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		if _, err := Read(strings.NewReader(text)); err != nil && !strings.Contains(text, roundMark) {
			t.Fatal(err)
		}
		metrics := rapid.MapOfN(rapid.StringMatching(`[a-zµ→/%-]+`), rapid.Float64(), 1, 5).Draw(t, "metrics")
		var line strings.Builder
		line.WriteString("BenchmarkX/N=10-4 \t 1")
		for unit, value := range metrics {
			line.WriteString("\t " + strconv.FormatFloat(value, 'g', -1, 64) + " " + unit)
		}
		s, is := ParseLine(line.String())
		if !is || s.Name != "X/N=10" || !maps.Equal(s.Metrics, metrics) {
			t.Fatalf("%q: %v", line.String(), s)
		}
	})
}
