package doctor

import (
	"fmt"
	"strings"
	"time"
)

// Severity says how soon somebody should act.
type Severity int

// The severities. The zero value is none.
const (
	Notice   Severity = iota + 1 // worth to know; nothing breaks of it by itself
	Warning                      // it will hurt, or one more thing that goes wrong will
	Critical                     // it hurts now, or within days at the latest
)

func (s Severity) String() string {
	switch s {
	case Notice:
		return "notice"
	case Warning:
		return "warning"
	case Critical:
		return "critical"
	}
	return "none"
}

// MarshalText implements [encoding.TextMarshaler].
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something that was found to be wrong.
type Finding struct {
	ID       string   `json:"id"` // the same for ever; its section in docs/doctor.md has this name
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Subject  string   `json:"subject"`  // the member, service, key or file that it is about; "" is all of it
	Evidence []string `json:"evidence"` // what was measured, and what with
	Advice   string   `json:"advice"`   // what to do
}

// kind is what can be found.
type kind struct{ id, title, advice string }

var kinds []*kind

// newKind notes what can be found, for its documentation to be held to.
func newKind(id, title, advice string) *kind {
	k := &kind{id, title, advice + " More: docs/doctor.md#" + id}
	kinds = append(kinds, k)
	return k
}

// found returns a finding of the kind.
func (k *kind) found(s Severity, subject string, evidence ...string) Finding {
	return Finding{ID: k.id, Severity: s, Title: k.title, Subject: subject, Evidence: evidence, Advice: k.advice}
}

// maxEvidence bounds how many lines a finding has of what may be there by the thousand.
const maxEvidence = 5

// few keeps the first lines, and says how many more there are.
func few(lines []string) []string {
	if len(lines) <= maxEvidence {
		return lines
	}
	return append(lines[:maxEvidence:maxEvidence], fmt.Sprintf("and %d more", len(lines)-maxEvidence))
}

// bytesOf writes a size as people read it.
func bytesOf(n int64) string {
	const units = "KMGT"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/(1<<10), 0
	for ; size >= 1<<10 && unit < len(units)-1; unit++ {
		size /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}

// span writes how long something takes or is ago: days when it is days, and no more digits than anybody reads.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
