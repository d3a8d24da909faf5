package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

func TestTheVerdictIsOnAllJournalsOfADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tell := func(by string, events ...journal.Event) {
		f, err := os.Create(filepath.Join(dir, by+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		w := journal.NewWriter(f, by)
		for _, e := range events {
			w.Tell(e)
		}
	}
	tell("nemesis",
		journal.Event{At: 1, What: journal.Expecting, Expect: &journal.Expect{Scenario: "nothing", Seed: 7}},
		journal.Event{At: 3 * time.Second, What: journal.Done},
	)
	tell("judge", journal.Event{At: 2 * time.Second, What: "synced", Revision: 1})
	verdict := func(wantBroken bool, want string) {
		t.Helper()
		var out bytes.Buffer
		broken, err := check(dir, &out)
		if err != nil || broken != wantBroken || !strings.Contains(out.String(), want) {
			t.Errorf("broken: %v, error: %v, want %v and %q in:\n%s", broken, err, wantBroken, want, &out)
		}
	}
	verdict(false, "nothing, seed 7: every invariant holds")
	tell("p", journal.Event{At: 2 * time.Second, What: journal.Unviewed, Err: "no more"})
	verdict(true, "I14 is broken")

	if _, err := check(t.TempDir(), new(bytes.Buffer)); err == nil {
		t.Error("a directory without journals was judged")
	}
}
