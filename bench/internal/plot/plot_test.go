package plot

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func drawing(lines ...Line) Drawing {
	show := func(v float64) string { return fmt.Sprint(v) }
	return Drawing{Title: "Time & <memory>", X: "instances", Y: "µs", Size: show, Label: show, Lines: lines}
}

func TestADrawingIsXMLThatStaysWithinItsPage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var lines []Line
		for n := range rapid.IntRange(1, 9).Draw(t, "lines") {
			line := Line{Title: fmt.Sprint("line ", n)}
			for range rapid.IntRange(0, 4).Draw(t, "points") {
				y := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(1e-6, 1e9)).Draw(t, "y")
				line.Points = append(line.Points, Point{X: float64(rapid.IntRange(0, 100_000).Draw(t, "x")), Y: y, Low: y / 2, High: y * 2})
			}
			lines = append(lines, line)
		}
		svg, drawn := drawing(lines...).SVG()
		if !drawn {
			return
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, "%!") {
			t.Fatal(svg)
		}
		for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, is := token.(xml.StartElement); is {
				inside(t, e)
			}
		}
	})
}

func inside(t *rapid.T, e xml.StartElement) {
	for _, a := range e.Attr {
		var at float64
		if _, err := fmt.Sscan(a.Value, &at); err != nil {
			continue
		}
		if x := strings.Contains(" x x1 x2 cx ", " "+a.Name.Local+" "); x && (at < 0 || at > width) {
			t.Fatalf("%s: %s=%s", e.Name.Local, a.Name.Local, a.Value)
		}
		if y := strings.Contains(" y y1 y2 cy ", " "+a.Name.Local+" "); y && (at < 0 || at > height) {
			t.Fatalf("%s: %s=%s", e.Name.Local, a.Name.Local, a.Value)
		}
	}
}

func TestNothingIsNotDrawn(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]Line{nil, {{Title: "empty"}}, {{Points: []Point{{X: 0, Y: 1, Low: 1, High: 1}, {X: 1, Y: 0}}}}} {
		if svg, drawn := drawing(lines...).SVG(); drawn {
			t.Errorf("%v: %s", lines, svg)
		}
	}
}

// A power is a straight line, and what is ten times as much lies as far away everywhere.
func TestTheAxesAreLogarithmic(t *testing.T) {
	t.Parallel()
	a := newAxis([]float64{1, 1000}, 0, 300)
	if step, next := a.at(10)-a.at(1), a.at(1000)-a.at(100); math.Abs(step-next) > 1e-9 || step < 80 {
		t.Errorf("%v and %v", step, next)
	}
}

func TestAnAxisHasSomeRoundNumbersWhateverItsRange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Float64Range(1e-6, 1e6).Draw(t, "low")
		high := low * rapid.Float64Range(1, 1e6).Draw(t, "times")
		ticks := newAxis([]float64{low, high}, 0, 1).ticks()
		if len(ticks) < 3 || len(ticks) > 10 {
			t.Fatalf("from %v to %v: %v", low, high, ticks)
		}
	})
}
