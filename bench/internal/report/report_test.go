package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
	"github.com/rollcall-io/rollcall/bench/internal/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write what is made over what is expected")

var (
	rollcall  = figure.Contender{Key: "rollcall", Title: "rollcall"}
	etcd      = figure.Contender{Key: "etcd-rr", Title: "round_robin on etcd’s resolver"}
	bare      = figure.Contender{Key: "bare", Title: "a policy that only connects"}
	listOurs  = figure.Contender{Key: "rollcall", Title: "rollcall", Metric: "list-ms"}
	listBare  = figure.Contender{Key: "raw", Title: "a bare decode", Metric: "raw-ms"}
	nobodyHas = figure.Contender{Key: "gozero", Title: "go-zero"}
)

var figures = []figure.Figure{
	{
		ID: "weight", Section: "Change", Title: "A weight changes", Text: "What it costs.", Axis: "instances", Baseline: "etcd-rr",
		Package: "bench/channel", Benchmark: `Change/N=\d+/weight`, Metric: "cpu-µs", Contenders: []figure.Contender{rollcall, etcd, bare, nobodyHas},
	},
	{
		ID: "list", Section: "List", Title: "A list | in one", Text: "How long it takes.", Baseline: "raw",
		Package: "internal/integration", Benchmark: `List(/N=\d+)?`, Contenders: []figure.Contender{listOurs, listBare},
	},
	{ID: "nothing", Section: "Nothing", Title: "Nothing", Text: "There is none.", Benchmark: "Nothing", Metric: "ms", Contenders: []figure.Contender{rollcall}},
}

var bars = []figure.Bar{
	{What: "a weight", Against: "round_robin", Reach: "≤ 1/30", Figure: "weight", N: 1000, To: "etcd-rr", Limit: 1.0 / 30},
	{What: "a weight of many", Against: "round_robin", Reach: "≤ 1/30", Figure: "weight", N: 10_000, To: "etcd-rr", Limit: 1.0 / 30},
	{What: "above the floor", Against: "round_robin", Reach: "≤ 1/30", Figure: "weight", N: 1000, To: "etcd-rr", Floor: "bare", Limit: 1.0 / 30},
	{What: "a list", Against: "a bare decode", Reach: "≤ 1.2 ×", Figure: "list", To: "raw", Limit: 1.2},
	{What: "a list by the clock", Reach: "≤ 1 s", Figure: "list", Limit: 1000},
	{What: "nothing", Reach: "0", Figure: "nothing", Limit: 1},
}

func TestThePageIsTheOneThatIsExpected(t *testing.T) {
	t.Parallel()
	page := made(t, "drawings")
	expect(t, "page.golden", page.Text)
	if len(page.Drawings) != 1 {
		t.Fatalf("%d drawings", len(page.Drawings))
	}
	expect(t, "weight.svg", page.Drawings["weight.svg"])
}

func TestThePageIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	first := made(t, "drawings")
	for range 20 {
		if diff := cmp.Diff(first, made(t, "drawings")); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestAPageForATerminalHasNoDrawings(t *testing.T) {
	t.Parallel()
	if page := made(t, ""); len(page.Drawings) > 0 || strings.Contains(page.Text, "![") {
		t.Error(page.Text)
	}
}

func made(t *testing.T, folder string) Page {
	t.Helper()
	f, err := os.Open("testdata/raw.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	run, err := result.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return Make(run, figures, bars, folder)
}

func expect(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-update writes it): %s", name, diff)
	}
}

func TestNumbersAreForPeople(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value float64
		unit  string
		want  string
	}{
		{310.47, "µs", "310 µs"},
		{7012, "µs", "7.01 ms"},
		{999.96, "µs", "1 ms"},
		{12.3, "ns/op", "12.3 ns/op"},
		{229406, "ns/op", "229 µs/op"},
		{0.4, "ms", "400 µs"},
		{83247, "B/op", "83.2 kB/op"},
		{2048, "KiB/stream", "2 MiB/stream"},
		{23456.7, "registrations/s", "23,457 registrations/s"},
		{1234567, "", "1,234,567"},
		{0, "encodings/change", "0 encodings/change"},
		{-0.25, "%", "-0.25 %"},
		{-45678, "ns", "-45.7 µs"},
	} {
		if got := Number(c.value, c.unit); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.value, c.unit, got, c.want)
		}
	}
	for _, c := range []struct {
		low, high float64
		want      string
	}{{1, 2, "1 to 2 ms"}, {1, 1.001, "1 ms"}, {0.5, 2, "500 µs to 2 ms"}} {
		if got := Range(c.low, c.high, "ms"); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.low, c.high, got, c.want)
		}
	}
	for ratio, want := range map[float64]string{1.234: "1.23 ×", 1.0 / 22.4: "1/22", 0.5: "0.5 ×", 154: "154 ×", -0.5: "-0.5 ×"} {
		if got := Times(ratio); got != want {
			t.Errorf("%v: %q, want %q", ratio, got, want)
		}
	}
}

func TestGrowthIsSaidPlainly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values [3]float64 // at 10, 100 and 1,000
		want   string
	}{
		{[3]float64{5, 5, 5}, "N^0.00, it does not grow"},
		{[3]float64{1, 10, 100}, "N^1.00, linear"},
		{[3]float64{1, 80, 6400}, "N^1.90, **not linear: more than that**"},
		{[3]float64{100, 10, 1}, "N^-1.00, it falls"},
		{[3]float64{10, 11, 100}, "N^0.50, less than linear; at the end as N^0.96, linear"},
	} {
		s := figure.Series{}
		for i, n := range []float64{10, 100, 1000} {
			s[n] = map[int]float64{1: c.values[i]}
		}
		if got := growth(s); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
	if got := growth(figure.Series{10: {1: 1}, 100: {1: 10}}); got != "" {
		t.Errorf("two sizes: %q", got)
	}
}
