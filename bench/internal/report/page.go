// Package report makes a page of a run: whether the bars were reached, and each figure as a table and a drawing.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-io/rollcall/bench/internal/figure"
	"github.com/rollcall-io/rollcall/bench/internal/result"
)

// A Page is what is written: the text, and drawings by the name of their file.
type Page struct {
	Text     string
	Drawings map[string]string
}

// Make makes the page of a run. Drawings are linked to as lying in a folder; if that is "", there are none. What depends on
// the run only is the same each time.
func Make(run *result.Run, figures []figure.Figure, bars []figure.Bar, folder string) Page {
	p := &page{run: run, folder: folder, drawings: map[string]string{}}
	p.rounds, _ = strconv.Atoi(run.Fact("rounds"))
	day, _, _ := strings.Cut(run.Fact("date"), "T")
	p.write("# Beside the peers, %s\n\n", cmp.Or(day, "undated"))
	p.write("This page and its drawings are made from the raw file beside it by `go run . -report`; [README.md](../README.md) says how to read it.\n\n")
	p.meta()
	p.bars(figure.Judge(bars, figures, run.Samples))
	measured := map[string]map[string]figure.Series{}
	figures = slices.DeleteFunc(slices.Clone(figures), func(f figure.Figure) bool {
		measured[f.ID] = f.Read(run.Samples)
		return len(measured[f.ID]) == 0
	})
	p.contents(figures)
	section := ""
	for _, f := range figures {
		if f.Section != section {
			section = f.Section
			p.write("## %s\n\n", section)
		}
		p.figure(f, measured[f.ID])
	}
	return Page{strings.TrimRight(p.text.String(), "\n") + "\n", p.drawings}
}

type page struct {
	run      *result.Run
	rounds   int // that there were to be
	folder   string
	text     strings.Builder
	drawings map[string]string
}

func (p *page) write(format string, args ...any) { fmt.Fprintf(&p.text, format, args...) }

// row writes a row of a table.
func (p *page) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	p.write("| %s |\n", strings.Join(cells, " | "))
}

func (p *page) meta() {
	p.row("what", "")
	p.row("---", "---")
	for _, f := range p.run.Meta {
		p.row(f.Key, f.Value)
	}
	p.write("\n")
	for _, note := range p.run.Notes {
		p.write("- %s\n", note)
	}
	if len(p.run.Notes) > 0 {
		p.write("\n")
	}
}

func (p *page) bars(verdicts []figure.Verdict) {
	if len(verdicts) == 0 {
		return
	}
	p.write("## The bars\n\n")
	p.row("what", "beside", "to reach", "measured (range of the rounds)", "")
	p.row("---", "---", "---", "---", "---")
	for _, v := range verdicts {
		what := fmt.Sprintf("[%s](#%s)", v.What, v.Figure)
		if v.Measured.Rounds == 0 {
			p.row(v.What, v.Against, v.Reach, "not measured in this run", "?")
			continue
		}
		p.row(what, v.Against, v.Reach, inNumbers(v), verdict(v))
	}
	p.write("\nThat no live instance is deleted, and that no call fails in rolling restarts, is no measurement: `make chaos` proves it.\n\n")
}

// contents lists the figures.
func (p *page) contents(figures []figure.Figure) {
	p.write("## The figures\n\n")
	section := ""
	for _, f := range figures {
		if f.Section != section {
			section = f.Section
			p.write("- %s\n", section)
		}
		p.write("  - [%s](#%s)\n", f.Title, f.ID)
	}
	p.write("\n")
}

func inNumbers(v figure.Verdict) string {
	s := v.Measured
	if v.Unit == "" {
		return ratios(s)
	}
	if s.Min == s.Max {
		return Number(s.Median, v.Unit)
	}
	return fmt.Sprintf("%s (%s)", Number(s.Median, v.Unit), Range(s.Min, s.Max, v.Unit))
}

func verdict(v figure.Verdict) string {
	if v.Met() {
		return "met"
	}
	if v.Missed() <= 0 || v.Limit == 0 { // a number that falls below zero is no multiple of anything
		return "**missed**"
	}
	return fmt.Sprintf("**missed, by %s ×**", Digits(v.Missed()))
}

func sizesOf(all map[string]figure.Series) []float64 {
	sizes := map[float64]bool{}
	for _, s := range all {
		for n := range s {
			sizes[n] = true
		}
	}
	return slices.Sorted(maps.Keys(sizes))
}
