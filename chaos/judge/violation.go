package judge

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// Violation is something that broke an invariant.
type Violation struct {
	Invariant string // its id, as "I2"; "record" or "run" for what makes the verdict itself doubtful
	Rule      string // what it says
	Seed      int64
	Began     time.Duration // when the run began
	At        time.Duration
	Service   string
	ID        string
	Process   string // whose doing it is, or whose instance it is about
	Detail    string
	// Timeline is what was told around it of the instance and its process, and which faults there were. Only the first few
	// violations of an invariant have one.
	Timeline []journal.Event
}

const (
	printed      = 5 // violations of an invariant
	eventsBefore = 13
	eventsAfter  = 7
)

// String is the violation in one line.
func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s", v.Invariant, clock(v.At-v.Began))
	if v.Service != "" {
		fmt.Fprintf(&b, ", %s", v.Service)
	}
	if v.ID != "" {
		fmt.Fprintf(&b, "/%s", v.ID)
	}
	if v.Process != "" {
		fmt.Fprintf(&b, ", process %s", v.Process)
	}
	return b.String() + ": " + v.Detail
}

// clock is a time of the run, in seconds.
func clock(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// Report prints which invariants of a run are broken, and what was told around the first few violations of each.
func Report(w io.Writer, scenario string, seed int64, violations []Violation) {
	if len(violations) == 0 {
		fmt.Fprintf(w, "%s, seed %d: every invariant holds\n", scenario, seed)
		return
	}
	fmt.Fprintf(w, "%s, seed %d: %d violations\n", scenario, seed, len(violations))
	for len(violations) > 0 {
		n := sameInvariant(violations)
		fmt.Fprintf(w, "\n%s is broken: %s\n", violations[0].Invariant, violations[0].Rule)
		for _, v := range violations[:min(n, printed)] {
			v.print(w)
		}
		if n > printed {
			fmt.Fprintf(w, "  and %d more\n", n-printed)
		}
		violations = violations[n:]
	}
}

// sameInvariant counts the violations that break the same invariant as the first.
func sameInvariant(violations []Violation) int {
	other := slices.IndexFunc(violations, func(v Violation) bool { return v.Invariant != violations[0].Invariant })
	if other < 0 {
		return len(violations)
	}
	return other
}

func (v Violation) print(w io.Writer) {
	fmt.Fprintf(w, "  %s (seed %d)\n", v, v.Seed)
	marked := false
	for _, e := range v.Timeline {
		if e.At > v.At && !marked {
			fmt.Fprintf(w, "    %10s  ---- here ----\n", clock(v.At-v.Began))
			marked = true
		}
		fmt.Fprintf(w, "    %10s  %-9s %s\n", clock(e.At-v.Began), e.By, v.describe(e))
	}
}

// describe tells what of an event concerns a violation.
func (v Violation) describe(e journal.Event) string {
	parts := []string{string(e.What)}
	add := func(wanted bool, format string, args ...any) {
		if wanted {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(e.Name != "", "%s", e.Name)
	add(e.Target != "", "on %s", e.Target)
	add(e.ID != "", "%s/%s", e.Service, e.ID)
	add(e.Incarnation != "", "incarnation %s", e.Incarnation)
	add(e.State != "", "%s", e.State)
	add(e.Epoch != 0, "epoch %d", e.Epoch)
	add(e.Revision != 0, "revision %d", e.Revision)
	add(e.Lease != 0, "lease %x", e.Lease)
	if e.What == journal.Viewed {
		parts = append(parts, fmt.Sprintf("of %d", e.Size))
		add(e.Stale, "stale")
		add(e.Reset, "reset")
		for _, m := range e.Changed {
			add(m.ID == v.ID, "has %s", memberText(m))
		}
		add(slices.Contains(e.Left, v.ID), "without %s", v.ID)
	}
	if e.What == journal.Answered {
		parts = append(parts, fmt.Sprintf("%s after %s, to be kept for %s, with %s", e.Text, clock(e.Took), clock(e.TTL), strings.Join(e.Found, " ")))
	}
	add(e.What == journal.Exited, "code %d, told to: %v", e.Code, e.Told)
	add(e.What == journal.Load || e.What == journal.Leases, "%v", e.Value)
	add(e.Err != "", "error: %s", e.Err)
	return strings.Join(parts, " ")
}

func memberText(m journal.Member) string {
	text := m.ID
	if m.Incarnation != "" {
		text += "@" + m.Incarnation
	}
	if s := stated(m.State); s != serving {
		text += " " + s
	}
	if m.Suspect {
		text += " suspect"
	}
	return text
}

// addTimelines adds what was told around those violations that are printed.
func (r *run) addTimelines() {
	for rest := r.found; len(rest) > 0; {
		n := sameInvariant(rest)
		for i := range rest[:min(n, printed)] {
			rest[i].Timeline = r.timeline(&rest[i])
		}
		rest = rest[n:]
	}
}

// timeline chooses the last events before a violation that concern it, and the first after.
func (r *run) timeline(v *Violation) []journal.Event {
	after, _ := slices.BinarySearchFunc(r.events, v.At+1, func(e journal.Event, at time.Duration) int { return int(e.At - at) })
	var out []journal.Event
	for n := after - 1; n >= 0 && len(out) < eventsBefore; n-- {
		if v.concerns(&r.events[n]) {
			out = append(out, r.events[n])
		}
	}
	slices.Reverse(out)
	for n, more := after, 0; n < len(r.events) && more < eventsAfter; n++ {
		if v.concerns(&r.events[n]) {
			out, more = append(out, r.events[n]), more+1
		}
	}
	return out
}

// concerns reports whether an event is about the same instance or process, or about all.
func (v *Violation) concerns(e *journal.Event) bool {
	switch e.What {
	case journal.Fault, journal.Healed, journal.Rewritten, journal.Quiet, journal.Done, Hole, Contradiction, Floor:
		return true
	case journal.Usage, journal.Load:
		return false
	case journal.Unreachable, journal.Reachable, journal.Exited:
		return v.Process == "" || e.Target == v.Process
	case journal.Viewed:
		return v.concernsView(e)
	case journal.Leases:
		return v.Invariant == "I13"
	}
	if v.ID == "" {
		return v.Process != "" && e.By == v.Process
	}
	if e.ID == "" {
		return e.By == v.Process
	}
	return e.ID == v.ID && e.Service == v.Service
}

// concernsView: of an instance's violation, all views that show it otherwise; of a watcher's own, its views.
func (v *Violation) concernsView(e *journal.Event) bool {
	if e.Service != v.Service && v.Service != "" {
		return false
	}
	if v.ID == "" {
		return e.By == v.Process
	}
	return slices.Contains(e.Left, v.ID) || slices.ContainsFunc(e.Changed, func(m journal.Member) bool { return m.ID == v.ID })
}
