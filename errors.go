package rollcall

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/internal/lease"
)

// Sentinel errors. Test for them with [errors.Is]; the text that surrounds them says which service and instance.
var (
	// ErrReplaced ends a registration whose key now belongs to another one, usually a newer process on the same
	// address. The registration lets go of the key and never touches it again.
	ErrReplaced = lease.ErrReplaced

	// ErrClosed is returned by everything that is called on a closed registry or watcher, and ends the registrations
	// of a registry that is closed.
	ErrClosed = lease.ErrClosed

	// ErrDeregistered ends a registration that was deregistered; its Update and Drain return it.
	ErrDeregistered = lease.ErrReleased

	// ErrInvalid is what every [InvalidError] is.
	ErrInvalid = errors.New("invalid")

	// ErrUnreachable is what every [UnreachableError] is.
	ErrUnreachable = errors.New("etcd unreachable")
)

// InvalidError refuses an argument before anything reaches etcd.
type InvalidError struct {
	Field string // the argument or field, as written in Go: "service", "Instance.Addr"
	Value string // the offending value, as text
	Rule  string // what would be accepted
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.Field, e.Value, e.Rule)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// maxEcho bounds how much of a bad value an error repeats.
const maxEcho = 100

func invalid(field string, value any, rule string) error {
	text := fmt.Sprint(value)
	if s, ok := value.(string); ok {
		text = fmt.Sprintf("%q", shorten(s))
	}
	return &InvalidError{Field: field, Value: text, Rule: rule}
}

func shorten(s string) string {
	if len(s) <= maxEcho {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:maxEcho], len(s))
}

// size is a number of bytes, as an error repeats it.
type size int

func (s size) String() string { return fmt.Sprintf("of %d bytes", int(s)) }

// UnreachableError says that a call ended before etcd had answered it. It unwraps to the reason, usually
// [context.DeadlineExceeded] or [context.Canceled] of the caller's own context.
type UnreachableError struct {
	Endpoints []string  // what was tried
	Since     time.Time // when the call began to try
	Last      error     // what the last try met; nil when no try came back
	Err       error     // why the call gave up
}

func (e *UnreachableError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no answer from etcd at %s since %s: %v", strings.Join(e.Endpoints, ", "), e.Since.Format(time.TimeOnly), e.Err)
	if e.Last != nil {
		fmt.Fprintf(&b, " (last try: %v)", e.Last)
	}
	return b.String()
}

// Is makes errors.Is(err, ErrUnreachable) true.
func (e *UnreachableError) Is(target error) bool { return target == ErrUnreachable }

func (e *UnreachableError) Unwrap() error { return e.Err }
