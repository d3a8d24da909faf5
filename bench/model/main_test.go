package main

import (
	"os"
	"strings"
	"testing"
)

func TestFiguresHaveTwoDigitsAndAUnit(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		number(1_000_000): "1,000,000", number(1234): "1,200", number(96): "96", number(9.6): "9.6", number(0.05): "0.050", number(0): "0",
		rate(0.66667): "0.67/s", seconds(15): "15 s",
		cores(0.0004): "under 0.1 % of a core", cores(0.0123): "1.2 % of a core", cores(0.6): "60 % of a core", cores(6.1): "6.1 cores",
		size(512): "510 B", size(11 << 10): "11 KiB", size(3 << 30): "3.0 GiB",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The document has what the program prints.
func TestTheDocumentHasTheTables(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	var tables strings.Builder
	write(&tables, measured)
	for table := range strings.SplitSeq(strings.TrimSpace(tables.String()), "\n\n") {
		if !strings.Contains(string(document), table) {
			t.Errorf("docs/performance.md does not have this table of go run ./model:\n%s", table)
		}
	}
}
