package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// PortError says that the server cannot listen where it should, usually because something listens there already.
type PortError struct {
	Addr string // host:port
	Flag string // what says where to listen, and how
	Err  error  // why not
}

func (e *PortError) Error() string {
	reason := e.Err
	if op, ok := errors.AsType[*net.OpError](reason); ok {
		reason = op.Err // without the address, which is said here
	}
	advice := "choose another address with " + e.Flag
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		advice = "stop what listens there, or " + advice
	}
	return fmt.Sprintf("listen on %s: %v; %s", e.Addr, reason, advice)
}

func (e *PortError) Unwrap() error { return e.Err }

// LockedError says that another process works on the data directory.
type LockedError struct {
	Path string // the data directory
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("data directory %s is in use by another process, such as a rollcall server or an etcd; stop that one, or choose another directory with --data-dir", e.Path)
}

// LostError says that a member of a cluster that runs has no data: it cannot make that cluster again, and must be taken in anew.
type LostError struct {
	Path string // the data directory
	Name string // the member's
	Err  error  // as etcd says it
}

func (e *LostError) Error() string {
	return fmt.Sprintf("start etcd in %s: %v: its data is lost; have the others take member %s out and in again, by rollcall member remove and add, then start it with --cluster-state existing", e.Path, e.Err, e.Name)
}

func (e *LostError) Unwrap() error { return e.Err }
