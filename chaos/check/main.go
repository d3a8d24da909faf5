// Program check judges the journals of a chaos run once more: check DIR prints the verdict, and exits 1 if an invariant is
// broken.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/judge"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: check DIR")
		os.Exit(2)
	}
	broken, err := check(os.Args[1], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	if broken {
		os.Exit(1)
	}
}

// check prints the verdict on the journals in a directory.
func check(dir string, out io.Writer) (broken bool, err error) {
	events, err := journal.Read(dir)
	if err != nil {
		return false, err
	}
	if len(events) == 0 {
		return false, fmt.Errorf("there are no journals in %s", dir)
	}
	scenario, seed := "a run", int64(0)
	for _, e := range events {
		if e.What == journal.Expecting && e.Expect != nil {
			scenario, seed = e.Expect.Scenario, e.Expect.Seed
		}
	}
	violations := judge.Check(events)
	judge.Report(out, scenario, seed, violations)
	return len(violations) > 0, nil
}
