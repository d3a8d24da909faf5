package main

import (
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/rollcall-io/rollcall/internal/server"
)

// notify tells systemd how this process is, if that started it with Type=notify. Nobody else is told, and whether it was heard changes nothing.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// notifyReady says that what the process was started for is there: units that are ordered after it may start.
func notifyReady(status string) { notify(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// notifyStopping says that the process is about to end by itself or as asked.
func notifyStopping(status string) { notify(daemon.SdNotifyStopping + "\nSTATUS=" + status) }

// supervisor is systemd, as a server knows it.
func supervisor() server.Supervisor {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		patience = 0 // a variable that makes no sense is none of systemd's
	}
	return server.Supervisor{Notify: notify, Watchdog: patience}
}
