package main

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columnGap is what stands between two columns.
const columnGap = "  "

// printTable prints rows in aligned columns, the first row being the heads.
func printTable(w io.Writer, rows [][]string) error {
	var b strings.Builder
	for _, line := range alignRows(rows, nil) {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// alignRows makes a line of each row. Columns are at least as wide as least says.
func alignRows(rows [][]string, least []int) []string {
	widths := append([]int(nil), least...)
	for _, row := range rows {
		for n, text := range row {
			for len(widths) <= n {
				widths = append(widths, 0)
			}
			widths[n] = max(widths[n], displayWidth(text))
		}
	}
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		var b strings.Builder
		for n, text := range row {
			if n > 0 {
				b.WriteString(columnGap)
			}
			b.WriteString(text)
			if n < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[n]-displayWidth(text)))
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// displayWidth is how many cells of a terminal a text takes. Colours, which are ours alone, take none.
func displayWidth(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case escape:
			escape = r != 'm'
		case r == '\x1b':
			escape = true
		default:
			n += runeWidth(r)
		}
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < ' ' || r == 0x7f:
		return 0
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// fit cuts a text to so many cells, with a … for what is missing.
func fit(text string, cells int) string {
	if displayWidth(text) <= cells {
		return text
	}
	if cells < 1 {
		return ""
	}
	var b strings.Builder
	n, escape, colored, full := 0, false, false, false
	for _, r := range text {
		switch {
		case escape:
			escape = r != 'm'
		case r == '\x1b':
			escape, colored = true, true
		case full:
			continue
		default:
			if n+runeWidth(r) > cells-1 {
				b.WriteRune('…')
				full = true
				continue
			}
			n += runeWidth(r)
		}
		if !full {
			b.WriteRune(r)
		}
	}
	if colored {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}
