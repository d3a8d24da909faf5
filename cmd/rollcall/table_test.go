package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestColumnsAreAlignedAsATerminalShowsThem(t *testing.T) {
	t.Parallel()
	p := paint{on: true}
	rows := [][]string{
		{"ID", "STATE", "NOTE"},
		{"世界", p.green("serving"), "x"},
		{"e\u0301a", "gone", "-"}, // an accent takes no cell of its own
		{"naïve", p.red("suspect"), ""},
	}
	var b bytes.Buffer
	if err := printTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := "ID     STATE    NOTE\n" +
		"世界   \x1b[32mserving\x1b[0m  x\n" +
		"e\u0301a     gone     -\n" +
		"naïve  \x1b[31msuspect\x1b[0m\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatDoesNotFitIsCutAtItsWidth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		cells int
		want  string
	}{
		{"serving", 7, "serving"},
		{"serving", 6, "servi…"},
		{"世界世界", 5, "世界…"},
		{"世界世界", 4, "世…"},
		{"\x1b[31msuspect\x1b[0m x", 5, "\x1b[31msusp…\x1b[0m"},
		{"abc", 1, "…"},
		{"abc", 0, ""},
	} {
		if got := fit(c.text, c.cells); got != c.want || displayWidth(got) > c.cells {
			t.Errorf("%q in %d cells is %q, want %q", c.text, c.cells, got, c.want)
		}
	}
}

func TestColoursAreForTerminalsAndForWhoeverInsists(t *testing.T) {
	for _, c := range []struct {
		when    colorWhen
		noColor string
		want    bool
	}{
		{colorAuto, "", false}, // a buffer is no terminal
		{colorAlways, "", true},
		{colorAlways, "1", true},
		{colorNever, "", false},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		if got := c.when.paintFor(&strings.Builder{}).on; got != c.want {
			t.Errorf("--color %s, NO_COLOR=%q: colours %v, want %v", c.when, c.noColor, got, c.want)
		}
	}
}

func TestYAMLHasTheFieldsOfJSON(t *testing.T) {
	t.Parallel()
	v := serviceJSON{Service: "on", Instances: 2, Serving: 1, Zones: map[string]int32{"1.10": 2}}
	var b bytes.Buffer
	if err := printData(&b, formatYAML, v); err != nil {
		t.Fatal(err)
	}
	want := "service: \"on\"\ninstances: 2\nserving: 1\ndraining: 0\nzones:\n  \"1.10\": 2\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
