//go:build rollcall_without

package without

import (
	"os"
	"slices"
	"strings"
)

// Each is true if the environment variable ROLLCALL_WITHOUT names it: several have commas between them.
var (
	Watchdog    = named("watchdog")
	Patience    = named("patience")
	Reopen      = named("reopen")
	Backoff     = named("backoff")
	Regrant     = named("regrant")
	Retry       = named("retry")
	Lease       = named("lease")
	Ownership   = named("ownership")
	OwnKeys     = named("ownkeys")
	Spread      = named("spread")
	Leader      = named("leader")
	Probe       = named("probe")
	Relist      = named("relist")
	FreshStream = named("freshstream")
	Skip        = named("skip")
	Guard       = named("guard")
)

func named(protection string) bool {
	return slices.Contains(strings.Split(os.Getenv("ROLLCALL_WITHOUT"), ","), protection)
}
