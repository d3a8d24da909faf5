package report

import (
	"math"
	"strconv"
	"strings"

	"github.com/rollcall-io/rollcall/bench/internal/stat"
)

// A scale is a family of units, each so many times the first.
type scale []struct {
	unit  string
	times float64
}

var scales = []scale{
	{{"ns", 1}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}},
	{{"B", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}},
	{{"KiB", 1}, {"MiB", 1 << 10}, {"GiB", 1 << 20}},
}

// Number writes a number for people, with three digits that mean something, in the unit of its family that suits it.
func Number(value float64, unit string) string {
	base, per, _ := strings.Cut(unit, "/")
	for _, family := range scales {
		for _, from := range family {
			if from.unit == base {
				value, base = family.suit(value * from.times)
				if per != "" {
					base += "/" + per
				}
				return Digits(value) + " " + base
			}
		}
	}
	if unit == "" {
		return Digits(value)
	}
	return Digits(value) + " " + unit
}

// suit finds the greatest unit in which a value is at least 1.
func (s scale) suit(value float64) (float64, string) {
	for i := len(s) - 1; i > 0; i-- {
		if math.Abs(value) >= s[i].times*0.9995 {
			return value / s[i].times, s[i].unit
		}
	}
	return value, s[0].unit
}

// Digits writes three significant digits, all of a greater number, and commas between thousands.
func Digits(value float64) string {
	if value == 0 {
		return "0"
	}
	places := max(2-int(math.Floor(math.Log10(math.Abs(value)))), 0)
	text := strconv.FormatFloat(value, 'f', min(places, 9), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	whole, rest, _ := strings.Cut(text, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return sign + whole
}

// Times writes a ratio: how many times, or which part.
func Times(ratio float64) string {
	if ratio > 0 && ratio < 0.1 {
		return "1/" + Digits(math.Round(1/ratio))
	}
	return Digits(ratio) + " ×"
}

// Range writes from where to where numbers go, and their unit once if it is the same.
func Range(low, high float64, unit string) string {
	from, to := Number(low, unit), Number(high, unit)
	if from == to {
		return to
	}
	number, its, spaced := strings.Cut(from, " ")
	if _, theirs, _ := strings.Cut(to, " "); spaced && its == theirs {
		from = number
	}
	return from + " to " + to
}

// ratios writes a median and a range.
func ratios(s stat.Spread) string {
	from, to := Times(s.Min), Times(s.Max)
	if from == to {
		return Times(s.Median)
	}
	if strings.HasSuffix(to, " ×") {
		from = strings.TrimSuffix(from, " ×")
	}
	return Times(s.Median) + " (" + from + " to " + to + ")"
}

// short writes a number with the first word of its unit only, and without one that is not of a family.
func short(value float64, unit string) string {
	base, _, _ := strings.Cut(unit, "/")
	if scaled(base) {
		return Number(value, base)
	}
	return Digits(value)
}

// axisUnit is what is to be said beside an axis whose numbers are short: nothing, if they have all of their unit.
func axisUnit(unit string) string {
	if scaled(unit) {
		return ""
	}
	return unit
}

// scaled says whether a unit is of a family.
func scaled(unit string) bool {
	for _, family := range scales {
		for _, of := range family {
			if of.unit == unit {
				return true
			}
		}
	}
	return false
}
