package stat

import (
	"math"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheMedianIsTheMiddle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3, 1}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9, 3}},
		{[]float64{4, 1, 2, 100}, Spread{3, 1, 100, 4}},
	} {
		if diff := cmp.Diff(c.want, Of(c.values)); diff != "" {
			t.Errorf("%v: %s", c.values, diff)
		}
	}
}

func TestHalfOfTheRoundsAreNotAboveTheMedianAndHalfAreNotBelow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e9, 1e9), 1, 20).Draw(t, "values")
		s := Of(values)
		below, above := 0, 0
		for _, v := range values {
			if v < s.Min || v > s.Max {
				t.Fatalf("%v is outside %v", v, s)
			}
			if v < s.Median {
				below++
			}
			if v > s.Median {
				above++
			}
		}
		if below > len(values)/2 || above > len(values)/2 {
			t.Fatalf("%d below %v, %d above", below, s.Median, above)
		}
	})
}

func TestARatioIsOfWhatWasMeasuredInTheSameRound(t *testing.T) {
	t.Parallel()
	ours := map[int]float64{1: 10, 2: 40, 3: 5, 4: 7}
	its := map[int]float64{1: 100, 2: 200, 4: 0, 5: 1}
	if diff := cmp.Diff([]float64{0.1, 0.2}, Ratios(ours, its)); diff != "" {
		t.Error(diff) // rounds 3 and 5 have one of the two only, and 4 has nothing to divide by
	}
	if diff := cmp.Diff(map[int]float64{1: 90, 2: 160, 4: -7}, Without(its, ours)); diff != "" {
		t.Error(diff)
	}
}

// A machine that is slower in one round is so for both, and no ratio changes.
func TestARatioDoesNotDependOnTheMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ratio := rapid.Float64Range(0.01, 100).Draw(t, "ratio")
		ours, its := map[int]float64{}, map[int]float64{}
		for round, slow := range rapid.SliceOfN(rapid.Float64Range(0.1, 10), 1, 8).Draw(t, "slow") {
			its[round], ours[round] = slow, slow*ratio
		}
		for _, got := range Ratios(ours, its) {
			if math.Abs(got-ratio) > 1e-9*ratio {
				t.Fatalf("%v, want %v", got, ratio)
			}
		}
	})
}

func TestAPowerIsFoundWhateverTheConstantAndTheSizes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Float64Range(-1, 3).Draw(t, "exponent")
		constant := rapid.Float64Range(0.001, 1000).Draw(t, "constant")
		var points []Point
		n := 1.0
		for range rapid.IntRange(3, 6).Draw(t, "sizes") {
			n *= rapid.Float64Range(2, 10).Draw(t, "step")
			points = append(points, Point{n, constant * math.Pow(n, want)})
		}
		got, fits := Fit(rapid.Permutation(points).Draw(t, "order"))
		if !fits || math.Abs(got.Exponent-want) > 1e-6 || math.Abs(got.Last-want) > 1e-6 {
			t.Fatalf("%v %v, want %v", got, fits, want)
		}
	})
}

// A constant and a part that grows: what is fitted lies between, and the last step says where it goes.
func TestWhatBecomesLinearShowsItInTheLastStep(t *testing.T) {
	t.Parallel()
	got, fits := Fit([]Point{{1, 100.1}, {100, 110}, {10_000, 1100}, {1_000_000, 100_100}})
	if !fits || got.Exponent < 0.3 || got.Exponent > 0.7 || got.Last < 0.95 {
		t.Errorf("%v %v", got, fits)
	}
}

func TestTwoSizesSayNothingAboutGrowth(t *testing.T) {
	t.Parallel()
	for _, points := range [][]Point{
		nil,
		{{1, 1}, {10, 10}},
		{{1, 1}, {10, 10}, {10, 11}}, // one of them twice
		{{1, 1}, {10, 10}, {100, 0}}, // nothing has no logarithm
		{{0, 1}, {10, 10}, {100, 3}}, // nor has no size
	} {
		if got, fits := Fit(points); fits {
			t.Errorf("%v: %v", points, got)
		}
	}
}
