package history

import (
	"slices"
	"time"
)

// Kind is what happened. The numbers are those of the API.
type Kind uint8

// The kinds of events.
const (
	Joined        Kind = iota + 1 // an instance registered
	Left                          // an instance said goodbye
	Expired                       // its lease ran out
	Removed                       // somebody else took its key away
	Replaced                      // another incarnation registered in its place
	Returned                      // the same incarnation is back
	Changed                       // it says something else of itself
	Drained                       // it drains: by its own word, or with an Actor, by an operator's
	Weighed                       // an operator gave it another weight
	Undone                        // that was taken back, or without an Actor: it serves again by its own word
	Ended                         // a drain or a weight ended by itself
	PolicySet                     // an operator decided for all callers of a service
	PolicyDeleted                 // that was taken back
	Accepted                      // an operator had doubted losses believed
	Unhealthy                     // a check found it unhealthy
	Healthy                       // and well again
	EtcdLost                      // etcd went out of reach
	EtcdBack                      // and is back
	EtcdReset                     // etcd's history broke
	Gap                           // something may be missing here
)

var kinds = [...]string{
	Joined: "joined", Left: "left", Expired: "expired", Removed: "removed", Replaced: "replaced", Returned: "returned", Changed: "changed",
	Drained: "drained", Weighed: "weighed", Undone: "undone", Ended: "ended", PolicySet: "policy_set", PolicyDeleted: "policy_deleted",
	Accepted: "accepted", Unhealthy: "unhealthy", Healthy: "healthy", EtcdLost: "etcd_lost", EtcdBack: "etcd_back", EtcdReset: "etcd_reset",
	Gap: "gap",
}

// String returns the kind's word, as "policy_set".
func (k Kind) String() string {
	if int(k) >= len(kinds) || kinds[k] == "" {
		return "unknown"
	}
	return kinds[k]
}

// Event is one thing that happened. It is a copy, and its reader's own.
type Event struct {
	// Sequence names the event in this history, growing by one with each. One of another history, as before the server's restart, is smaller
	// than all of this one, unless the clock was set back.
	Sequence int64

	Kind     Kind
	Revision int64 // etcd's; two events may have one

	// Time is when it happened. It is exact, by this machine's clock, if that was seen; else it is the latest that it can have been, and
	// Within by how much it may be too late. The zero Time: nobody knows.
	Time   time.Time
	Within time.Duration

	Service  string // "" when it is about etcd
	Instance string // its id; "" when it is about the whole service, or etcd

	Addr, Zone, Version, Incarnation string // the instance's, as of then

	Actor  string // the operator who did it, or the server whose check it is
	Reason string // why, in the operator's words, or what the check or this machine met
	Detail string // what changed, in a few words

	Since time.Time // since when that was, which has ended now: see history.proto
	Until time.Time // until when it counts, of a drain or a weight
}

// Filter selects events: those that meet all that is set.
type Filter struct {
	Service  string
	Instance string
	Kinds    []Kind // any of these
	Actor    string
	Since    time.Time // not before; whose time nobody knows, is before everything
	Until    time.Time // before

	// Sees says whether a service may be told of; events about etcd always may. Nil: every one.
	Sees func(service string) bool
}

// on reports whether an event meets all but the times.
func (f *Filter) on(e *record) bool {
	switch {
	case f.Service != "" && e.who.service.Value() != f.Service,
		f.Instance != "" && e.who.id != f.Instance,
		len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.kind),
		f.Actor != "" && (e.why == nil || e.why.actor != f.Actor):
		return false
	}
	service := e.who.service.Value()
	return f.Sees == nil || service == "" || f.Sees(service)
}

// in reports whether an event lies between the times.
func (f *Filter) in(e *record) bool {
	at := e.known()
	return (f.Since.IsZero() || at >= f.Since.UnixNano()) && (f.Until.IsZero() || at < f.Until.UnixNano())
}
