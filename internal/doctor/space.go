package doctor

import (
	"context"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

var (
	quotaNearlyFull = newKind("quota-nearly-full", "Etcd's database is nearly as large as it may be",
		"When it is full nobody can register any more. Free what is free in it: `rollcall server defrag`, or `etcdctl defrag --cluster`. If that frees little, see what fills it (`etcdctl get / --prefix --keys-only`, compaction), or raise etcd's --quota-backend-bytes.")
	storeFragmented = newKind("store-fragmented", "Most of etcd's database is free pages",
		"Give them back at a quiet hour: `rollcall server defrag`, or `etcdctl defrag` at one member after the other; a member answers nothing meanwhile.")
	alarmNoSpace = newKind("alarm-nospace", "Etcd is full and refuses every write",
		"Who is registered stays, nobody new can register. Free space (`rollcall server defrag`, or `etcdctl compact REVISION` and `etcdctl defrag --cluster`), then lift the alarm: `rollcall server disarm`, or `etcdctl alarm disarm`.")
	alarmCorrupt = newKind("alarm-corrupt", "Etcd found that its members' data differ",
		"Trust no answer of the member named. Take it out, empty its data directory, and add it as a new member: `etcdctl member remove ID`, `etcdctl member add`. Only then `etcdctl alarm disarm`.")
)

var spaceCheck = check{"space", "how full etcd's database is", func(ctx context.Context, p *patient) ([]Finding, error) {
	members, err := p.answering(ctx)
	if err != nil {
		return nil, err
	}
	found := judgeSpace(members, p.Thresholds)
	if len(found) == 0 && !slices.ContainsFunc(members, func(m member) bool { return m.status.DbSizeQuota > 0 }) {
		return nil, fmt.Errorf("etcd %s does not tell its quota", members[0].status.Version)
	}
	return found, nil
}}

func judgeSpace(members []member, limit Thresholds) []Finding {
	var found []Finding
	for _, m := range members {
		size, used, quota := m.status.DbSize, m.status.DbSizeInUse, m.status.DbSizeQuota
		evidence := fmt.Sprintf("the database is %s, of which %s are in use", bytesOf(size), bytesOf(used))
		switch share := float64(size) / float64(max(quota, 1)); {
		case quota > 0 && share >= limit.QuotaWarning:
			severity := Warning
			if share >= limit.QuotaCritical {
				severity = Critical
			}
			found = append(found, quotaNearlyFull.found(severity, m.called(), evidence, fmt.Sprintf("that is %.0f %% of its quota of %s", 100*share, bytesOf(quota))))
		case size >= limit.FragmentedSize && used < size/2:
			found = append(found, storeFragmented.found(Notice, m.called(), evidence))
		}
	}
	return found
}

var alarmCheck = check{"alarms", "etcd's alarms", func(ctx context.Context, p *patient) ([]Finding, error) {
	conn, err := p.door(ctx)
	if err != nil {
		return nil, err
	}
	list, err := pb.NewMaintenanceClient(conn).Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	if err != nil {
		return nil, err
	}
	members, err := p.members(ctx)
	return judgeAlarms(list.Alarms, members), err
}}

func judgeAlarms(alarms []*pb.AlarmMember, members []member) []Finding {
	var found []Finding
	for _, a := range alarms {
		who := fmt.Sprintf("%x", a.MemberID)
		if n := slices.IndexFunc(members, func(m member) bool { return m.id == a.MemberID }); n >= 0 {
			who = members[n].called()
		}
		switch a.Alarm {
		case pb.AlarmType_NOSPACE:
			found = append(found, alarmNoSpace.found(Critical, who, "its alarm NOSPACE is raised"))
		case pb.AlarmType_CORRUPT:
			found = append(found, alarmCorrupt.found(Critical, who, "its alarm CORRUPT is raised"))
		}
	}
	return found
}
