package rollcall

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/rollcall-io/rollcall/internal/lease"
	"github.com/rollcall-io/rollcall/internal/wire"
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

	// ErrNoSpace says that etcd has used up its quota and writes nothing until somebody makes room. What is registered
	// stays registered, and what leaves can leave.
	ErrNoSpace = errors.New("etcd is out of space: compact, defragment and disarm its alarm, or raise its quota")

	// ErrUnauthenticated says that etcd does not know who asks.
	ErrUnauthenticated = errors.New("etcd does not accept the credentials")

	// ErrPermissionDenied says that etcd knows who asks and will not have it.
	ErrPermissionDenied = errors.New("etcd's role for these credentials does not allow it: to register takes readwrite on the service's keys, " +
		"to watch it read, to list services read on those of all")

	// ErrMoved is the [ErrReplaced] of a registration that somebody else has resumed: the instance goes on. See [Registry.Resume].
	ErrMoved = lease.ErrMoved

	// ErrDetached ends a registration that was detached: see [Registration.Detach].
	ErrDetached = lease.ErrDetached

	// ErrNotFound says that there is no such policy or override, or no such registration to be resumed.
	ErrNotFound = errors.New("not found")

	// ErrAlive says that an instance is not removed because its registration lives, and would put it back at once.
	ErrAlive = errors.New("it is alive and would register again at once: drain it, or end its process")

	// ErrConflict is what every [ConflictError] is.
	ErrConflict = errors.New("conflict")

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

// ConflictError refuses a write because somebody else has written since.
type ConflictError struct {
	Wanted int64 // the revision that was to be replaced; 0: none
	Found  int64 // the one that is there; 0: none
}

func (e *ConflictError) Error() string {
	switch {
	case e.Wanted == 0:
		return fmt.Sprintf("somebody has written it already, at revision %d: read it, and decide again", e.Found)
	case e.Found == 0:
		return fmt.Sprintf("it was of revision %d, and somebody has deleted it: read it, and decide again", e.Wanted)
	}
	return fmt.Sprintf("it was of revision %d, and somebody has written it at %d: read it, and decide again", e.Wanted, e.Found)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

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

// refused gives etcd's refusals the names that they have here; other errors stay what they are.
func refused(err error) error {
	known := wire.EtcdError(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(known, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w (%w)", ErrNoSpace, err)
	case errors.Is(known, rpctypes.ErrUserEmpty), errors.Is(known, rpctypes.ErrAuthFailed), errors.Is(known, rpctypes.ErrInvalidAuthToken):
		return fmt.Errorf("%w (%w)", ErrUnauthenticated, err)
	case errors.Is(known, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%w (%w)", ErrPermissionDenied, err)
	}
	return err
}

// size is a number of bytes, as an error repeats it.
type size int

func (s size) String() string { return fmt.Sprintf("of %d bytes", int(s)) }

// UnreachableError says that a call ended before etcd had answered it. It unwraps to the reason, usually
// [context.DeadlineExceeded] or [context.Canceled] of the caller's own context, and to what the last try met.
type UnreachableError struct {
	Who       string    // who was asked: "etcd", which "" means too, or "the server"
	Endpoints []string  // what was tried
	Since     time.Time // when the call began to try
	Last      error     // what the last try met; nil when no try came back
	Err       error     // why the call gave up
}

func (e *UnreachableError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no answer from %s at %s since %s: %v", cmp.Or(e.Who, "etcd"), strings.Join(e.Endpoints, ", "), e.Since.Format(time.TimeOnly), e.Err)
	if e.Last != nil {
		fmt.Fprintf(&b, " (last try: %v)", e.Last)
	}
	return b.String()
}

// Is makes errors.Is(err, ErrUnreachable) true.
func (e *UnreachableError) Is(target error) bool { return target == ErrUnreachable }

func (e *UnreachableError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Last}
}
