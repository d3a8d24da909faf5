package history

import (
	"fmt"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// Difference says in a few words what is different about an instance at two moments, by its own word, an operator's or a check's; "" when
// it was merely written again.
func Difference(before, after *rollcall.Instance) string {
	var words []string
	if before.Incarnation != after.Incarnation {
		words = append(words, "restarted")
	}
	for _, w := range []struct{ what, from, to string }{
		{"state", string(before.State), string(after.State)},
		{"operator's drain", fmt.Sprint(drained(before)), fmt.Sprint(drained(after))},
		{"operator's weight", weighed(before), weighed(after)},
		{"health", health(before), health(after)},
	} {
		if w.from != w.to {
			words = append(words, changed(w.what, w.from, w.to))
		}
	}
	if own := difference(before, after, true); own != "" {
		words = append(words, own)
	}
	return strings.Join(words, ", ")
}

func drained(i *rollcall.Instance) bool { return i.Override != nil && i.Override.Drain }

func weighed(i *rollcall.Instance) string {
	if i.Override == nil || i.Override.Weight == 0 {
		return ""
	}
	return fmt.Sprint(i.Override.Weight)
}

func health(i *rollcall.Instance) string {
	if i.Healthy() {
		return "well"
	}
	return "failing (" + i.Health.Detail + ")"
}
