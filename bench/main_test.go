package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const raw = `date: 2026-11-23T07:04:41Z
pkg: github.com/rollcall-io/rollcall/internal/integration
BenchmarkList/N=1000-2 	 1	 800 B/instance	 20 list-ms	 660 raw-B/instance	 11 raw-ms
BenchmarkList/N=10000-2 	 1	 810 B/instance	 230 list-ms	 670 raw-B/instance	 150 raw-ms
`

func TestAPageIsMadeAgainFromItsRawFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "2026-11-23.txt")
	if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	var pages []string
	for range 2 {
		if err := run(t.Context(), []string{"-report", file}, io.Discard, t.Output()); err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(filepath.Join(folder, "2026-11-23.md"))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, string(page))
	}
	if pages[0] != pages[1] || !strings.Contains(pages[0], "| 1,000 | rollcall | 20 ms |") {
		t.Error(pages[0])
	}
	if _, err := os.Stat(filepath.Join(folder, "2026-11-23", "list.svg")); err != nil || !strings.Contains(pages[0], "(2026-11-23/list.svg)") {
		t.Error("no drawing: ", err)
	}
}

// The folder of drawings is named as the file without its ending, and is emptied before.
func TestAFileThatIsNoRawFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-report", file}, io.Discard, t.Output()); err == nil {
		t.Error("taken for one")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != raw {
		t.Error("changed: ", err)
	}
}

func TestTheFiguresAreListed(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(t.Context(), []string{"-list", "-run", "^list$"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], "list ") {
		t.Errorf("%q", out.String())
	}
}

func TestWhatIsAskedForIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args    string
		rounds  int
		budget  time.Duration
		results string
	}{
		{"", 5, 29 * time.Minute, "results"},
		{"-quick", 1, 150 * time.Second, ""},
		{"-quick -rounds 2 -budget 1h -results x", 2, time.Hour, "x"},
		{"-run list", 5, 29 * time.Minute, ""},
		{"-run list -results x", 5, 29 * time.Minute, "x"},
	} {
		o, err := parse(strings.Fields(c.args), t.Output())
		if err != nil || o.rounds != c.rounds || o.budget != c.budget || o.results != c.results {
			t.Errorf("%q: %+v %v", c.args, o, err)
		}
	}
	for _, args := range []string{"-rounds 0", "-budget -1s", "-run (", "more", "-run nobody-has-this -list"} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
