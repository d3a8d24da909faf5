package report

import (
	"fmt"
	"math"
	"strconv"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
	"github.com/rollcall-io/rollcall/bench/internal/stat"
)

// growth says in words how a contender's numbers grow with their size; "" where there are not sizes enough.
func growth(s figure.Series) string {
	var points []stat.Point
	for n, rounds := range s {
		points = append(points, stat.Point{N: n, Value: spread(rounds).Median})
	}
	g, fits := stat.Fit(points)
	if !fits {
		return ""
	}
	text := fmt.Sprintf("%s, %s", power(g.Exponent), kind(g.Exponent))
	if math.Abs(g.Last-g.Exponent) > 0.2 {
		text += fmt.Sprintf("; at the end as %s, %s", power(g.Last), kind(g.Last))
	}
	return text
}

func power(exponent float64) string {
	rounded := strconv.FormatFloat(exponent, 'f', 2, 64)
	if rounded == "-0.00" {
		rounded = "0.00"
	}
	return "N^" + rounded
}

// The bounds of what is called linear leave room for what a constant part and a cache do to an exponent.
func kind(exponent float64) string {
	switch {
	case exponent < -0.1:
		return "it falls"
	case exponent <= 0.1:
		return "it does not grow"
	case exponent < 0.9:
		return "less than linear"
	case exponent <= 1.1:
		return "linear"
	}
	return "**not linear: more than that**"
}

func spread(rounds map[int]float64) stat.Spread {
	var values []float64
	for _, v := range rounds {
		values = append(values, v)
	}
	return stat.Of(values)
}
