package judge

import (
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleClosed = "a process that is told to end does so in time, and leaves no key and no lease"

// checkCloses: I13.
func checkCloses(r *run) {
	if r.expect.Close == 0 {
		return
	}
	for _, l := range r.lives {
		if fault, at := r.closeFault(l); fault != "" {
			r.reportClose(l, slot{}, at, fault)
		}
		if l.closed != nil && l.closed.Err == "" {
			r.checkLeftovers(l)
		}
	}
	if n := slices.IndexFunc(r.events, func(e journal.Event) bool { return e.What == journal.Done }); n >= 0 {
		r.checkLeases(r.events[n:])
	}
}

func (r *run) reportClose(l *life, k slot, at time.Duration, detail string) {
	r.report(Violation{Invariant: "I13", Rule: ruleClosed, At: at, Service: k.service, ID: k.id, Process: l.process, Detail: detail})
}

// closeFault tells how the end of a process was not as it should be. What it could not do because etcd was away is no
// fault.
func (r *run) closeFault(l *life) (fault string, at time.Duration) {
	switch {
	case l.closing == nil && l.exited != nil && l.exited.Told && !l.cutOff() && l.exited.Code != 0:
		return fmt.Sprintf("it was told to end, and ended with code %d without having closed", l.exited.Code), l.exited.At
	case l.closing == nil || l.cutOff():
		return "", 0
	case l.closed == nil:
		return "it was told to end, and has not closed", l.closing.At
	case l.exited == nil:
		return "it has closed, and did not end", l.closed.At
	case l.exited.At-l.closing.At > r.expect.Close:
		return fmt.Sprintf("it took %s to end, at most %s are allowed", clock(l.exited.At-l.closing.At), clock(r.expect.Close)), l.exited.At
	case r.hampered(l, span{l.closing.At, l.closed.At}):
		return "", 0
	case l.closed.Err != "":
		return "it closed with an error: " + l.closed.Err, l.closed.At
	case l.exited.Code != 0:
		return fmt.Sprintf("it ended with code %d", l.exited.Code), l.exited.At
	}
	return "", 0
}

// hampered reports whether a process could not always reach etcd in a time.
func (r *run) hampered(l *life, in span) bool {
	return slices.ContainsFunc(slices.Concat(r.outages, l.unreachable), func(s span) bool { return s.from <= in.to && s.to > in.from })
}

// checkLeftovers: what a process had is gone once it has closed, and does not come again but by a restore.
func (r *run) checkLeftovers(l *life) {
	restored := slices.ContainsFunc(r.rewrites, func(s span) bool { return s.from >= l.closed.At-lag })
	recorded := slices.ContainsFunc(r.store.epochs, func(ep *epoch) bool { return ep.syncedAt > l.closed.At })
	for k := range l.tried {
		for _, there := range r.store.presence(k, func(c change) bool { return r.belongs(l, k, c) }) {
			late := there.to > after(l.closed.At, lag) && there.to < forever || there.to == forever && recorded
			if late && !restored {
				r.reportClose(l, k, l.closed.At, "its key is still, or again, in etcd after the process has closed")
				break
			}
		}
	}
}

// checkLeases looks at the last count of leases after the run.
func (r *run) checkLeases(events []journal.Event) {
	for _, e := range slices.Backward(events) {
		if e.What == journal.Leases {
			if e.Value != 0 {
				r.report(Violation{Invariant: "I13", Rule: ruleClosed, At: e.At, Detail: fmt.Sprintf("etcd holds %v leases after the end of all processes", e.Value)})
			}
			return
		}
	}
}
