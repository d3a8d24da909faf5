package figure

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rollcall-io/rollcall/bench/internal/result"
	"github.com/rollcall-io/rollcall/bench/internal/stat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample(name string, round int, metrics map[string]float64) result.Sample {
	return result.Sample{Package: result.Module + "/bench/x", Name: name, Round: round, Metrics: metrics}
}

func TestAFigureIsReadBySizeAndContender(t *testing.T) {
	t.Parallel()
	samples := []result.Sample{
		sample("Change/N=100/weight", 1, map[string]float64{"rollcall-cpu-µs": 1, "etcd-rr-cpu-µs": 10, "rr-cpu-µs": 99}),
		sample("Change/N=100/weight", 2, map[string]float64{"rollcall-cpu-µs": 2, "etcd-rr-cpu-µs": 20}),
		sample("Change/N=1000/weight", 1, map[string]float64{"rollcall-cpu-µs": 3}),
		sample("Change/N=100/same", 1, map[string]float64{"rollcall-cpu-µs": 77}),
		sample("Exchange/N=100/weight", 1, map[string]float64{"rollcall-cpu-µs": 77}),
		{Package: result.Module + "/bench/other", Name: "Change/N=100/weight", Round: 1, Metrics: map[string]float64{"rollcall-cpu-µs": 77}},
	}
	f := Figure{Package: "bench/x", Benchmark: `Change/N=\d+/weight`, Metric: "cpu-µs", Contenders: who("rollcall", "etcd-rr")}
	want := map[string]Series{
		"rollcall": {100: {1: 1, 2: 2}, 1000: {1: 3}},
		"etcd-rr":  {100: {1: 10, 2: 20}},
	}
	if diff := cmp.Diff(want, f.Read(samples)); diff != "" {
		t.Error(diff)
	}
	if f.Unit() != "µs" {
		t.Errorf("unit %q", f.Unit())
	}
}

func TestContendersMayHaveLinesOrUnitsOfTheirOwn(t *testing.T) {
	t.Parallel()
	samples := []result.Sample{
		sample("OverSockets/clients=500/rollcall", 1, map[string]float64{"cpu-ms": 1}),
		sample("OverSockets/clients=500/linear", 1, map[string]float64{"cpu-ms": 4}),
		sample("OverSockets/clients=500/stranger", 1, map[string]float64{"cpu-ms": 5}),
		sample("List/N=10", 1, map[string]float64{"list-ms": 8, "raw-ms": 6}),
		sample("List", 1, map[string]float64{"list-ms": 9}),
	}
	lines := Figure{Package: "bench/x", Benchmark: `OverSockets/clients=(?P<n>\d+)/(?P<who>.*)`, Metric: "cpu-ms", Contenders: who("rollcall", "linear")}
	want := map[string]Series{"rollcall": {500: {1: 1}}, "linear": {500: {1: 4}}}
	if diff := cmp.Diff(want, lines.Read(samples)); diff != "" {
		t.Error(diff)
	}
	units := Figure{Package: "bench/x", Benchmark: "List(/N=.*)?", Contenders: []Contender{printed("rollcall", "list-ms"), printed("raw", "raw-ms")}}
	want = map[string]Series{"rollcall": {10: {1: 8}, 0: {1: 9}}, "raw": {10: {1: 6}}}
	if diff := cmp.Diff(want, units.Read(samples)); diff != "" {
		t.Error(diff)
	}
}

func TestABarIsHeldToWhatWasMeasured(t *testing.T) {
	t.Parallel()
	f := Figure{ID: "f", Package: "bench/x", Benchmark: `X/N=\d+`, Metric: "ms", Contenders: who("rollcall", "raw", "bare")}
	samples := []result.Sample{
		sample("X/N=10", 1, map[string]float64{"rollcall-ms": 12, "raw-ms": 22, "bare-ms": 2}),
		sample("X/N=10", 2, map[string]float64{"rollcall-ms": 30, "raw-ms": 60, "bare-ms": 10}),
		sample("X/N=10", 3, map[string]float64{"rollcall-ms": 9, "raw-ms": 10, "bare-ms": 1}),
	}
	for name, c := range map[string]struct {
		bar    Bar
		want   stat.Spread
		unit   string
		met    bool
		missed float64
	}{
		"a ratio":                       {Bar{To: "raw", Limit: 0.5}, stat.Spread{Median: 12.0 / 22, Min: 0.5, Max: 0.9, Rounds: 3}, "", false, 12.0 / 11},
		"one that is just met":          {Bar{To: "raw", Limit: 12.0 / 22}, stat.Spread{Median: 12.0 / 22, Min: 0.5, Max: 0.9, Rounds: 3}, "", true, 1},
		"a ratio above a floor":         {Bar{To: "raw", Floor: "bare", Limit: 0.5}, stat.Spread{Median: 10.0 / 22, Min: 1.0 / 3, Max: 0.8, Rounds: 3}, "", true, 10.0 / 11},
		"a ratio above a floor of both": {Bar{To: "raw", Floor: "bare", FloorOfBoth: true, Limit: 1}, stat.Spread{Median: 0.5, Min: 0.4, Max: 8.0 / 9, Rounds: 3}, "", true, 0.5},
		"a number":                      {Bar{Limit: 10}, stat.Spread{Median: 12, Min: 9, Max: 30, Rounds: 3}, "ms", false, 1.2},
		"a number that is to be more":   {Bar{Limit: 10, AtLeast: true}, stat.Spread{Median: 12, Min: 9, Max: 30, Rounds: 3}, "ms", true, 10.0 / 12},
		"that of another contender":     {Bar{Of: "bare", Limit: 2}, stat.Spread{Median: 2, Min: 1, Max: 10, Rounds: 3}, "ms", true, 1},
		"a size that was not measured":  {Bar{N: 20, To: "raw", Limit: 1}, stat.Spread{}, "", false, 0},
	} {
		if c.bar.Figure = "f"; c.bar.N == 0 {
			c.bar.N = 10
		}
		got := Judge([]Bar{c.bar}, []Figure{f}, samples)
		if len(got) != 1 {
			t.Fatalf("%s: %v", name, got)
		}
		near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
		if diff := cmp.Diff(c.want, got[0].Measured, near); diff != "" || got[0].Unit != c.unit {
			t.Errorf("%s: %s %q", name, diff, got[0].Unit)
		}
		if got[0].Met() != c.met || !cmp.Equal(got[0].Missed(), c.missed, near) {
			t.Errorf("%s: met %v, missed by %v", name, got[0].Met(), got[0].Missed())
		}
	}
}

// What the lists say is there: otherwise a figure would be missing from the page for ever, and nobody would know why.
func TestTheListsFitTogether(t *testing.T) {
	t.Parallel()
	ids, run := map[string]Figure{}, map[string]bool{}
	for _, b := range Benchmarks() {
		run[b.Package+" "+b.Name()] = true
		if !declared(t, b) {
			t.Errorf("%s has no Benchmark%s", b.Package, b.Name())
		}
		for _, p := range strings.Split(b.Pattern, "/") {
			if _, err := regexp.Compile(p); err != nil {
				t.Errorf("%s: %v", b.Pattern, err)
			}
		}
	}
	needed := map[string]bool{}
	for _, f := range Figures() {
		needed[f.Package+" "+f.Function()] = true
		if _, twice := ids[f.ID]; twice || f.ID == "" || f.Title == "" || f.Text == "" || f.Section == "" || len(f.Contenders) == 0 || f.Unit() == "" {
			t.Errorf("figure %q is there twice, or lacks something", f.ID)
		}
		ids[f.ID] = f
		if !run[f.Package+" "+f.Function()] {
			t.Errorf("figure %s is of Benchmark%s, which is not run", f.ID, f.Function())
		}
		if f.Baseline != "" && !f.has(f.Baseline) {
			t.Errorf("figure %s has no %s to be compared with", f.ID, f.Baseline)
		}
	}
	for name := range run {
		if !needed[name] {
			t.Errorf("Benchmark%s is run, and no figure reads it", name)
		}
	}
	for _, b := range Bars() {
		f, is := ids[b.Figure]
		if !is || b.What == "" || b.Reach == "" {
			t.Errorf("the bar %q is of the figure %q, which there is not, or lacks something", b.What, b.Figure)
		}
		for _, key := range []string{b.Of, b.To, b.Floor} {
			if key != "" && is && !f.has(key) {
				t.Errorf("the bar %q names %s, whom the figure %s does not have", b.What, key, f.ID)
			}
		}
	}
}

// declared looks for the benchmark in the files of its package.
func declared(t *testing.T, b Benchmark) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../..", b.Package, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc Benchmark"+b.Name()+"(") {
			return true
		}
	}
	return false
}

func TestSomeFiguresNeedTheirBenchmarksOnly(t *testing.T) {
	t.Parallel()
	figures, benchmarks := Of(Figures(), Benchmarks(), regexp.MustCompile("^list"))
	if len(figures) != 2 || len(benchmarks) != 1 || benchmarks[0].Name() != "List" {
		t.Errorf("%v %v", figures, benchmarks)
	}
	if all, run := Of(Figures(), Benchmarks(), regexp.MustCompile("")); len(all) != len(Figures()) || len(run) != len(Benchmarks()) {
		t.Errorf("%d of %d, %d of %d", len(all), len(Figures()), len(run), len(Benchmarks()))
	}
}
