package rolling

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/chaos/rolling/work"
)

// Verdict is what a run came to.
type Verdict struct {
	Calls    map[work.Kind]int
	Failed   int                         // of all calls
	By       map[string]Tally            // the calls of each caller
	Worst    map[work.Kind]time.Duration // the longest call of each kind
	After    time.Duration               // how long after a server's goodbye the last call reached it; 0 if none did
	Restarts int
	Stalls   time.Duration // for how long the machine stood still, in all
	Longest  time.Duration // at once
	Faults   []Fault       // what is wrong; none if the restarts harmed nobody
}

// Tally is how many calls a caller made.
type Tally struct {
	Calls  map[work.Kind]int
	Failed int
}

// Fault is one thing that is wrong with a run.
type Fault struct {
	// Name is its kind: failed, late, after goodbye, untold, or ended; and few, idle or clock, for a run that proves nothing.
	Name string
	Text string
}

func (v *Verdict) blame(name, text string) { v.Faults = append(v.Faults, Fault{name, text}) }

// Has tells whether there is a fault of a kind.
func (v Verdict) Has(name string) bool {
	return slices.ContainsFunc(v.Faults, func(f Fault) bool { return f.Name == name })
}

// All is how many calls there were.
func (v Verdict) All() int { return sum(v.Calls) }

func sum(calls map[work.Kind]int) int {
	n := 0
	for _, of := range calls {
		n += of
	}
	return n
}

// String is the verdict in figures, on one line.
func (v Verdict) String() string {
	text := fmt.Sprintf("%d restarts, %d calls, %d failed", v.Restarts, v.All(), v.Failed)
	for _, who := range slices.Sorted(maps.Keys(v.By)) {
		text += fmt.Sprintf(", %d of %d by %s", v.By[who].Failed, sum(v.By[who].Calls), who)
	}
	text += "; at worst"
	for _, k := range work.Kinds {
		text += fmt.Sprintf(" %s %v (of %d),", k, brief(v.Worst[k]), v.Calls[k])
	}
	return text + fmt.Sprintf(" last call %v after a goodbye; the machine stood still for %v", brief(v.After), brief(v.Stalls))
}

// Report is all that is wrong, the first few of each kind, a line each; and none if nothing is.
func (v Verdict) Report() string {
	const few = 5
	var all strings.Builder
	shown := map[string]int{}
	for _, f := range v.Faults {
		if shown[f.Name]++; shown[f.Name] <= few {
			fmt.Fprintf(&all, "%s: %s\n", f.Name, f.Text)
		}
	}
	for _, name := range []string{"failed", "late", "after goodbye"} {
		if n := shown[name]; n > few {
			fmt.Fprintf(&all, "%s: %d more\n", name, n-few)
		}
	}
	return all.String()
}
