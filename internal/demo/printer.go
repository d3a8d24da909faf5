package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/rollcall-io/rollcall"
)

// printer tells what happens, line by line. Its methods may be called concurrently.
type printer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

// linef prints a line without a time. Nobody is left to tell if it cannot be written.
func (p *printer) linef(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// event prints a line about something that happened now.
func (p *printer) event(what, format string, args ...any) {
	p.linef("%6.2fs  %-9s %s", time.Since(p.start).Seconds(), what, fmt.Sprintf(format, args...))
}

// update prints a change of the view.
func (p *printer) update(u rollcall.Update) {
	p.event(happened(u), "%s  %s", u.Instance.ID, u.Instance.Addr)
}

// happened is the word for a change.
func happened(u rollcall.Update) string {
	switch {
	case u.Op != rollcall.Delete && u.Instance.Suspect:
		return "suspect"
	case u.Op == rollcall.Add:
		return "joined"
	case u.Op == rollcall.Delete && u.Expired:
		return "expired"
	case u.Op == rollcall.Delete:
		return "left"
	case u.Instance.State == rollcall.StateDraining:
		return "draining"
	}
	return "changed"
}

// calls prints how many calls each server got since the last time.
func (p *printer) calls(now, before map[string]int) {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if n := now[id] - before[id]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", id, n))
		}
	}
	p.event("calls", "%s", strings.Join(parts, "  "))
}

// tally prints what was counted.
func (p *printer) tally(t tally) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(&b, "\ncalls: %d made, %d answered, %d failed\n", t.made, t.made-t.failed, t.failed)
	for _, c := range t.causes {
		fmt.Fprintf(w, "  %d\t%s\t%s\n", c.n, c.what, c.text)
	}
	_ = w.Flush()
	b.WriteString("\n")
	fmt.Fprintln(w, "server\tcalls\tfirst call after join\tout of the view")
	for _, s := range t.servers {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", s.id, s.calls, took(s.firstCall), s.ending())
	}
	_ = w.Flush()
	b.WriteString("\n")
	for _, pr := range t.promises {
		verdict := "held"
		if !pr.held {
			verdict = "BROKEN"
		}
		fmt.Fprintf(&b, "%-6s  %s: %s\n", verdict, pr.text, pr.seen)
	}
	p.linef("%s", strings.TrimSuffix(b.String(), "\n"))
}

func (s serverTally) ending() string {
	switch {
	case s.how == "":
		return "-"
	case s.gone < 0:
		return s.how + ", still in it"
	}
	return fmt.Sprintf("%v after it was %s", round(s.gone), s.how)
}

func took(d time.Duration) string {
	if d < 0 {
		return "none"
	}
	return round(d).String()
}

// next prints what to try next, each command in a terminal of its own.
func (p *printer) next(program string) {
	p.linef("\nNext, each in a terminal of its own:")
	for _, command := range NextCommands(program) {
		p.linef("  %s", command)
	}
}
