package figure

import "slices"

// Figures returns all figures, in the order of the page.
func Figures() []Figure {
	return slices.Concat(engine(), registry(), channel(), server(), xds(), dns())
}

// suite is what the figures of a benchmark have in common: each quantity is a figure of its own.
type suite struct {
	id, section, title, text string
	pkg, benchmark, axis     string
	contenders               []Contender
	baseline                 string
}

// quantity is one of a suite's.
type quantity struct{ id, title, metric, text string }

// figures makes the figures of a suite. Its text is told with the first.
func (s suite) figures(quantities ...quantity) []Figure {
	var list []Figure
	for n, q := range quantities {
		text := q.text
		if n == 0 {
			text = s.text + " " + q.text
		}
		if n > 0 {
			text = "As [above](#" + s.id + "-" + quantities[0].id + "). " + text
		}
		list = append(list, Figure{
			ID: s.id + "-" + q.id, Section: s.section, Title: s.title + ": " + q.title, Text: text, Package: s.pkg, Benchmark: s.benchmark,
			Metric: q.metric, Contenders: s.contenders, Baseline: s.baseline, Axis: s.axis,
		})
	}
	return list
}
