package simulation

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// least is how often each kind of fault must strike in the seeds that run by default.
const least = 100

// strikes counts, over all seeds of a family, how often each kind of fault came, and how often it struck something
// alive: what that means says each fault.
type strikes struct {
	mu     sync.Mutex
	came   map[string]int
	struck map[string]int
}

func newStrikes() *strikes {
	return &strikes{came: map[string]int{}, struck: map[string]int{}}
}

func (s *strikes) count(kind string, struck bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came[kind]++
	if struck {
		s.struck[kind]++
	}
}

// report prints the table, and fails when a kind has struck too seldom.
func (s *strikes) report(t *testing.T, faults []fault, complete bool) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s %6s %6s\n", "fault", "came", "struck")
	for _, f := range faults {
		fmt.Fprintf(&b, "%-24s %6d %6d\n", f.kind, s.came[f.kind], s.struck[f.kind])
		if complete && s.struck[f.kind] < least {
			t.Errorf("%s struck something alive %d times, fewer than %d: the seeds prove too little of it", f.kind, s.struck[f.kind], least)
		}
	}
	t.Log("\n" + b.String())
}
