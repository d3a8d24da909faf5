// Package stat is the little mathematics behind a page of results: what several rounds have in common, how one contender
// relates to another, and how a figure grows with its size.
package stat

import (
	"cmp"
	"math"
	"slices"
)

// A Spread is what several rounds say about one number.
type Spread struct {
	Median, Min, Max float64
	Rounds           int
}

// Of returns the spread of some numbers, which it leaves as they are. Of none it is zero.
func Of(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		middle = (sorted[len(sorted)/2-1] + middle) / 2
	}
	return Spread{Median: middle, Min: sorted[0], Max: sorted[len(sorted)-1], Rounds: len(sorted)}
}

// Ratios divides what was measured in the same round. Rounds that lack one of the two, or whose divisor is not above zero,
// say nothing, and are left out.
func Ratios(of, to map[int]float64) []float64 {
	var ratios []float64
	for round, value := range of {
		if base, measured := to[round]; measured && base > 0 {
			ratios = append(ratios, value/base)
		}
	}
	slices.Sort(ratios)
	return ratios
}

// Without takes away what a floor costs, round by round.
func Without(values, floor map[int]float64) map[int]float64 {
	rest := map[int]float64{}
	for round, value := range values {
		if base, measured := floor[round]; measured {
			rest[round] = value - base
		}
	}
	return rest
}

// A Point is what was measured at one size.
type Point struct{ N, Value float64 }

// A Growth says how something grows with its size N: about as N to the power of Exponent, between the last two sizes as N
// to the power of Last.
type Growth struct{ Exponent, Last float64 }

// leastSizes is how many sizes there have to be: through two points any line fits.
const leastSizes = 3

// Fit fits a straight line to the logarithms of both, by least squares. It has no answer for fewer than three sizes. What is
// not above zero has no logarithm, and is left out.
func Fit(points []Point) (Growth, bool) {
	var logs []Point
	for _, p := range points {
		if p.N > 0 && p.Value > 0 {
			logs = append(logs, Point{math.Log(p.N), math.Log(p.Value)})
		}
	}
	slices.SortFunc(logs, func(a, b Point) int { return cmp.Compare(a.N, b.N) })
	logs = slices.CompactFunc(logs, func(a, b Point) bool { return a.N == b.N })
	if len(logs) < leastSizes {
		return Growth{}, false
	}
	var meanN, meanValue float64
	for _, p := range logs {
		meanN += p.N / float64(len(logs))
		meanValue += p.Value / float64(len(logs))
	}
	var both, square float64
	for _, p := range logs {
		both += (p.N - meanN) * (p.Value - meanValue)
		square += (p.N - meanN) * (p.N - meanN)
	}
	a, b := logs[len(logs)-2], logs[len(logs)-1]
	return Growth{Exponent: both / square, Last: (b.Value - a.Value) / (b.N - a.N)}, true
}
