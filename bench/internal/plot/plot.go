// Package plot draws lines on logarithmic axes, as SVG that can be read on a light and on a dark page, and whose text stays
// text.
package plot

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// A Drawing is one plot. A straight line in it is a power of x, and its slope the exponent.
type Drawing struct {
	Title, X, Y string
	Size, Label func(float64) string // how the numbers on the lower and on the upright axis are written
	Lines       []Line
}

// A Line is one contender's.
type Line struct {
	Title  string
	Points []Point
}

// A Point is a median, and how far the rounds lie apart.
type Point struct{ X, Y, Low, High float64 }

const (
	width, height            = 860, 400
	left, right, top, bottom = 84, 520, 54, 348
)

// colours are told apart by most eyes, on white and on black; the shapes of the points help the rest.
var colours = []string{"#2f81f7", "#e8710a", "#1a9c6b", "#c2497e", "#8f6bd8", "#a8861d", "#4aa3b8", "#8b8f96", "#d0413a"}

const style = `<style>
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:14px;font-weight:600}
.page{fill:#fff}.grid{stroke:#d8dee4}.frame{fill:none;stroke:#8c959f}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.grid{stroke:#30363d}.frame{stroke:#6e7681}}
</style>`

// SVG draws it; there is no drawing of nothing. What is not above zero has no place on such axes, and is left out.
func (d Drawing) SVG() (string, bool) {
	var xs, ys []float64
	d.Lines = slices.Clone(d.Lines)
	for i, line := range d.Lines {
		line.Points = slices.DeleteFunc(slices.Clone(line.Points), func(p Point) bool { return p.X <= 0 || p.Y <= 0 || p.Low <= 0 })
		slices.SortFunc(line.Points, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
		d.Lines[i] = line
		for _, p := range line.Points {
			xs, ys = append(xs, p.X), append(ys, p.Low, p.High)
		}
	}
	if len(xs) == 0 {
		return "", false
	}
	c := canvas{x: newAxis(xs, left, right), y: newAxis(ys, bottom, top)}
	c.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n%s\n", width, height, width, height, escape(d.Title), style)
	c.write(`<rect class="page" width="%d" height="%d"/>`+"\n", width, height)
	c.text(left, 22, "start", ` class="title"`, d.Title)
	c.text(left, 42, "start", "", d.Y)
	c.axes(d, xs)
	row := 0
	for i, line := range d.Lines {
		if len(line.Points) > 0 {
			c.line(i, line)
			c.legend(i, row, line.Title)
			row++
		}
	}
	c.write("</svg>\n")
	return c.String(), true
}

// A canvas is what is drawn on.
type canvas struct {
	strings.Builder
	x, y axis
}

func (c *canvas) write(format string, args ...any) { fmt.Fprintf(c, format, args...) }

func (c *canvas) text(x, y float64, anchor, more, text string) {
	c.write(`<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, escape(text))
}

func (c *canvas) axes(d Drawing, xs []float64) {
	slices.Sort(xs)
	for _, x := range slices.Compact(xs) { // the sizes there are, and no others
		c.write(`<line class="grid" x1="%.1f" x2="%.1[1]f" y1="%d" y2="%d"/>`+"\n", c.x.at(x), top, bottom)
		c.text(c.x.at(x), bottom+18, "middle", "", d.Size(x))
	}
	for _, y := range c.y.ticks() {
		c.write(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1[3]f"/>`+"\n", left, right, c.y.at(y))
		c.text(left-8, c.y.at(y)+4, "end", "", d.Label(y))
	}
	c.write(`<rect class="frame" x="%d" y="%d" width="%d" height="%d"/>`+"\n", left, top, right-left, bottom-top)
	c.text((left+right)/2, bottom+40, "middle", "", d.X)
}

// line draws the medians, with the spread of the rounds as upright strokes.
func (c *canvas) line(i int, line Line) {
	colour := colours[i%len(colours)]
	var path []string
	for _, p := range line.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", c.x.at(p.X), c.y.at(p.Y)))
	}
	c.write(`<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`+"\n", colour, strings.Join(path, " "))
	for _, p := range line.Points {
		c.write(`<line stroke="%s" x1="%.1f" x2="%.1[2]f" y1="%.1f" y2="%.1f"/>`+"\n", colour, c.x.at(p.X), c.y.at(p.Low), c.y.at(p.High))
		c.mark(i, c.x.at(p.X), c.y.at(p.Y))
	}
}

// mark draws a point in the contender's shape.
func (c *canvas) mark(i int, x, y float64) {
	colour := colours[i%len(colours)]
	switch i % 3 {
	case 0:
		c.write(`<circle fill="%s" cx="%.1f" cy="%.1f" r="4"/>`+"\n", colour, x, y)
	case 1:
		c.write(`<rect fill="%s" x="%.1f" y="%.1f" width="7" height="7"/>`+"\n", colour, x-3.5, y-3.5)
	case 2:
		c.write(`<path fill="%s" d="M%.1f %.1fl5 8h-10z"/>`+"\n", colour, x, y-5)
	}
}

func (c *canvas) legend(i, row int, title string) {
	y := float64(top + 8 + row*20)
	c.mark(i, right+20, y)
	c.text(right+32, y+4, "start", "", title)
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
