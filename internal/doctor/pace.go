package doctor

import (
	"context"
	"fmt"
)

var (
	memberSlow = newKind("member-slow", "A member of etcd answers slowly",
		"Registering and the first view of a service wait for it. See what keeps its machine busy (disk, memory, CPU, the network to the other members), and do not lead by it: `etcdctl move-leader ID`.")
	memberBehind = newKind("member-behind", "A member of etcd is behind the others",
		"What it tells is old. A slow disk or too little CPU is the usual reason; if it does not catch up, restart it, or take it out and add it anew.")
)

var paceCheck = check{"pace", "how fast etcd's members answer, and whether they keep up", func(ctx context.Context, p *patient) ([]Finding, error) {
	members, err := p.answering(ctx)
	if err != nil {
		return nil, err
	}
	return judgePace(members, p.Thresholds), nil
}}

func judgePace(members []member, limit Thresholds) []Finding {
	var newest uint64  // entry that is committed, as far as anybody knew when he was asked
	confirmed := false // by anybody: otherwise it is not this member that is slow
	for _, m := range members {
		newest = max(newest, m.status.RaftIndex)
		confirmed = confirmed || m.readErr == nil && !m.status.IsLearner
	}
	var found []Finding
	for _, m := range members {
		if slowest := max(m.reads, m.agrees); slowest >= limit.SlowRead {
			found = append(found, memberSlow.found(Warning, m.called(), fmt.Sprintf("of three reads the median took %s, and %s when the others had to agree", span(m.reads), span(m.agrees))))
		} else if m.readErr != nil && confirmed {
			found = append(found, memberSlow.found(Warning, m.called(), "a read that the others have to agree to: "+inWords(m.readErr)))
		}
		if applied := m.status.RaftAppliedIndex; newest > applied && newest-applied >= limit.ApplyLag {
			found = append(found, memberBehind.found(Warning, m.called(), fmt.Sprintf("it has applied entry %d, and %d is committed: %d behind", applied, newest, newest-applied)))
		}
	}
	return found
}
