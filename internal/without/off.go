//go:build !rollcall_without

// Package without takes single protections out of the engine, for the chaos suite to show that its scenarios would notice:
// one that passes without what it is about proves nothing.
//
// Only the build tag rollcall_without makes that possible. In every other build all of this is constant and false, and
// the compiler leaves nothing of it.
package without

const (
	// Watchdog is what gives up on a heartbeat that is not answered, and on a connection that no ping is answered on.
	Watchdog = false
	// Patience is what gives a slow etcd time to answer heartbeats and writes.
	Patience = false
	// Reopen is what puts heartbeats on a fresh stream when theirs has broken.
	Reopen = false
	// Backoff is the short one between tries; without it there is one that grows as long as gRPC's can.
	Backoff = false
	// Regrant is what registers again when a lease was lost.
	Regrant = false
	// Retry is what tries again a write or a grant that etcd has refused.
	Retry = false
	// Lease is what ends a key with its process.
	Lease = false
	// Ownership is what tells another registration's key from our own.
	Ownership = false
	// OwnKeys is what notices that somebody has deleted or overwritten a key of ours.
	OwnKeys = false
	// Spread is what keeps a fleet's heartbeats apart.
	Spread = false
	// Leader is what makes a member that has lost its leader say so.
	Leader = false
	// Probe is what proves that a view is current.
	Probe = false
	// Relist is what lists again when a watch has broken.
	Relist = false
	// FreshStream is what opens another watch stream when the token of one has died.
	FreshStream = false
	// Skip is what skips a value that cannot be read, and keeps the key's last good one.
	Skip = false
	// Guard is what doubts mass expiry.
	Guard = false
)
