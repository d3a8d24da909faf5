package plot

import "math"

// An axis is a range of numbers, by their logarithms, on a stretch of the drawing.
type axis struct {
	low, high float64 // logarithms
	from, to  float64 // where they lie
}

// leastSpan is the shortest range of an axis, from a number to its fourfold: what hardly changes is to look like it.
const leastSpan = 0.602

// newAxis makes an axis on which the numbers have room.
func newAxis(values []float64, from, to float64) axis {
	a := axis{low: math.Inf(1), high: math.Inf(-1), from: from, to: to}
	for _, v := range values {
		a.low, a.high = min(a.low, math.Log10(v)), max(a.high, math.Log10(v))
	}
	room := max((a.high-a.low)*0.06, (leastSpan-(a.high-a.low))/2)
	a.low, a.high = a.low-room, a.high+room
	return a
}

func (a axis) at(value float64) float64 {
	return a.from + (math.Log10(value)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// ticks are round numbers on the axis: powers of ten, and where there are few of them, what lies between.
func (a axis) ticks() []float64 {
	for _, steps := range [][]float64{{1}, {1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 5, 7}} {
		var ticks []float64
		for power := math.Floor(a.low); power <= a.high; power++ {
			for _, s := range steps {
				if l := power + math.Log10(s); l >= a.low && l <= a.high {
					ticks = append(ticks, s*math.Pow(10, power))
				}
			}
		}
		if len(ticks) >= 3 {
			return ticks
		}
	}
	return []float64{math.Pow(10, a.low), math.Pow(10, a.high)} // not with a span of fourfold or more
}
