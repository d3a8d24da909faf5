package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// colorWhen is the value of --color.
type colorWhen string

const (
	colorAuto   colorWhen = "auto"
	colorAlways colorWhen = "always"
	colorNever  colorWhen = "never"
)

func (c *colorWhen) String() string { return string(*c) }
func (c *colorWhen) Type() string   { return "when" }

func (c *colorWhen) Set(s string) error {
	switch when := colorWhen(s); when {
	case colorAuto, colorAlways, colorNever:
		*c = when
		return nil
	}
	return errors.New("colours are auto, always or never")
}

// paint colours words, or leaves them as they are. The zero paint does that.
type paint struct{ on bool }

// paintFor decides about what goes to w.
func (c colorWhen) paintFor(w io.Writer) paint {
	switch c {
	case colorAlways:
		return paint{true}
	case colorNever:
		return paint{}
	}
	_, terminal := terminalOf(w)
	return paint{terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// terminalOf returns the terminal that w is, if it is one.
func terminalOf(w any) (*os.File, bool) {
	if o, is := w.(*output); is {
		w = o.w
	}
	f, is := w.(*os.File)
	return f, is && term.IsTerminal(int(f.Fd()))
}

func (p paint) in(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) bold(text string) string   { return p.in("1", text) }
func (p paint) dim(text string) string    { return p.in("2", text) }
func (p paint) red(text string) string    { return p.in("31", text) }
func (p paint) green(text string) string  { return p.in("32", text) }
func (p paint) yellow(text string) string { return p.in("33", text) }

// state colours the word for what an instance is.
func (p paint) state(word string) string {
	switch word {
	case "serving":
		return p.green(word)
	case "suspect", "unhealthy":
		return p.red(word)
	case "draining", "draining (operator)":
		return p.yellow(word)
	}
	return word
}
