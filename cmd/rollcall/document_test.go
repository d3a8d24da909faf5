package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

func TestAPolicyIsReadAsItWasPrinted(t *testing.T) {
	t.Parallel()
	want := rollcall.Policy{
		Balancing: rollcall.Balancing{
			Pick: rollcall.LeastRequest, Split: map[string]float64{"1.10": 12.5, "on": 1, "2026-11-22": 3}, SplitHeader: "x-user", SlowStart: 30 * time.Second,
			Subset: rollcall.Subset{Size: 20}, Ejection: rollcall.Ejection{Disabled: true}, IgnoreZones: true,
		},
		Timeout: 1500 * time.Millisecond, Retry: &rollcall.Retry{Attempts: 3, On: []string{"UNAVAILABLE", "ABORTED"}},
		HealthCheck: new(string), Guard: &rollcall.GuardPolicy{Percent: 80, Suspicion: time.Minute},
		Reason: "a: b # <c>\n\tyes, 'quoted' \"too\" 😀", Author: "123", Since: time.Date(2026, 11, 22, 6, 31, 0, 0, time.UTC),
	}
	for _, f := range []documentFormat{documentYAML, documentJSON} {
		var text bytes.Buffer
		if err := printPolicy(&text, f, want); err != nil {
			t.Fatal(err)
		}
		got, err := readPolicy("-", strings.NewReader(text.String()))
		if err != nil {
			t.Fatalf("%s: %v in\n%s", f, err, text.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-printed +read):\n%s\nof\n%s", f, diff, text.String())
		}
	}
}

func TestJSONIsReadByTheRulesOfJSON(t *testing.T) {
	t.Parallel()
	p, err := readPolicy("-", strings.NewReader("{\n\t\"reason\": \"\\ud83d\\ude00\"\n}")) // in YAML half a character is none
	if err != nil || p.Reason != "😀" {
		t.Errorf("got %q, %v; want 😀", p.Reason, err)
	}
}

func TestAFieldOfADocumentIsNotTakenForAFlag(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"reason": "` + strings.Repeat("x", 2000) + `"}`, "author: " + strings.Repeat("x", 300)} {
		_, err := readPolicy("-", strings.NewReader(text))
		if err == nil {
			t.Fatalf("%.40s… is accepted", text)
		}
		if got := inFlagWords(err, nil); strings.Contains(got, "--") || exitCode(t.Context(), err) != exitUsage {
			t.Errorf("got %s, which speaks of a flag, or exit code %d", got, exitCode(t.Context(), err))
		}
	}
}

func TestAHugeDocumentIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := readPolicy("-", strings.NewReader(strings.Repeat(" ", maxDocument)+"{}")); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("got %v", err)
	}
}
