package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
	"github.com/rollcall-io/rollcall/bench/internal/plot"
	"github.com/rollcall-io/rollcall/bench/internal/stat"
)

// figure writes one figure: a table by size and contender, how each grows, and a drawing.
func (p *page) figure(f figure.Figure, all map[string]figure.Series) {
	p.write("<a id=%q></a>\n\n### %s\n\n%s\n\n", f.ID, f.Title, strings.TrimSpace(f.Text))
	sizes := sizesOf(all)
	sized := len(sizes) > 1 || sizes[0] > 0
	head := []string{"", "median", "range"}
	if sized {
		head = slices.Insert(head, 0, cmp.Or(f.Axis, "N"))
	}
	if f.Baseline != "" {
		head = append(head, "beside "+f.Contender(f.Baseline).Title)
	}
	p.row(head...)
	p.row(slices.Repeat([]string{"---"}, len(head))...)
	for _, n := range sizes {
		for _, c := range f.Contenders {
			if rounds := all[c.Key][n]; len(rounds) > 0 {
				cells := p.cells(f, c, rounds, all[f.Baseline][n])
				if sized {
					cells = slices.Insert(cells, 0, Digits(n))
				}
				p.row(cells...)
			}
		}
	}
	p.write("\n")
	if sized {
		p.growth(f, all)
	}
	if len(sizes) > 1 && p.folder != "" {
		p.drawing(f, all)
	}
}

// cells are those of a contender at one size.
func (p *page) cells(f figure.Figure, c figure.Contender, rounds, baseline map[int]float64) []string {
	s := spread(rounds)
	cells := []string{c.Title, Number(s.Median, f.Unit()), Range(s.Min, s.Max, f.Unit())}
	if s.Rounds < p.rounds {
		cells[2] += fmt.Sprintf(" (%d rounds)", s.Rounds)
	}
	if f.Baseline == "" {
		return cells
	}
	ratio := stat.Of(stat.Ratios(rounds, baseline))
	switch {
	case c.Key == f.Baseline:
		return append(cells, "1")
	case ratio.Rounds == 0:
		return append(cells, "")
	}
	return append(cells, ratios(ratio))
}

func (p *page) growth(f figure.Figure, all map[string]figure.Series) {
	var lines []string
	for _, c := range f.Contenders {
		if text := growth(all[c.Key]); text != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", c.Title, text))
		}
	}
	if len(lines) > 0 {
		p.write("Growth with %s, fitted: %s.\n\n", cmp.Or(f.Axis, "N"), strings.Join(lines, "; "))
		return
	}
	if len(sizesOf(all)) < 3 {
		p.write("There are fewer than three sizes: nothing is said about growth.\n\n")
	}
}

func (p *page) drawing(f figure.Figure, all map[string]figure.Series) {
	d := plot.Drawing{Title: f.Title, X: cmp.Or(f.Axis, "N"), Y: axisUnit(f.Unit()), Size: Digits, Label: func(v float64) string { return short(v, f.Unit()) }}
	for _, c := range f.Contenders {
		line := plot.Line{Title: c.Title}
		for n, rounds := range all[c.Key] {
			s := spread(rounds)
			line.Points = append(line.Points, plot.Point{X: n, Y: s.Median, Low: s.Min, High: s.Max})
		}
		d.Lines = append(d.Lines, line)
	}
	svg, drawn := d.SVG()
	if !drawn {
		return
	}
	name := f.ID + ".svg"
	p.drawings[name] = svg
	p.write("![%s](%s/%s)\n\n", f.Title, p.folder, name)
}
