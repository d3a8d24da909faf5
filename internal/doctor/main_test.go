package doctor

import (
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told writes findings as "severity id subject", sorted.
func told(found []Finding) []string {
	var out []string
	for _, f := range found {
		line := f.Severity.String() + " " + f.ID
		if f.Subject != "" {
			line += " " + f.Subject
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}
