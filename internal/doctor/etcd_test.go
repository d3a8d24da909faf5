package doctor

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// five are the members of a cluster on five machines, all well.
func five(n int) []member {
	var peers []*pb.Member
	for i := range n {
		peers = append(peers, &pb.Member{ID: uint64(i + 1), Name: string(rune('a' + i)), ClientURLs: []string{"http://10.0.0." + string(rune('1'+i)) + ":2379"}})
	}
	var all []member
	for _, peer := range peers {
		all = append(all, member{endpoint: strings.TrimPrefix(peer.ClientURLs[0], "http://"), id: peer.ID, name: peer.Name, peers: peers, status: &pb.StatusResponse{Leader: 1, Version: "3.7.3"}})
	}
	return all
}

func TestWhoMayBeLostIsToldFromWhoAnswers(t *testing.T) {
	t.Parallel()
	away := func(all []member, which ...int) []member {
		for _, n := range which {
			all[n].err, all[n].status = context.DeadlineExceeded, nil
			all[n].peers = nil
		}
		return all
	}
	leaderless := away(five(3), 0, 1)
	leaderless[2].readErr = context.DeadlineExceeded
	here := five(1)
	here[0].endpoint, here[0].peers[0].ClientURLs = "127.0.0.1:2379", []string{"http://127.0.0.1:2379"}
	learning := five(3)
	learning[2].status.IsLearner, learning[2].peers[2].IsLearner = true, true
	unnamed := five(3)
	unnamed[1].unnamed = true
	for name, row := range map[string]struct {
		members []member
		want    []string
	}{
		"all well":          {five(3), nil},
		"one of three away": {away(five(3), 1), []string{"warning member-away b at 10.0.0.2:2379", "warning quorum-at-risk"}},
		"one of five away":  {away(five(5), 1), []string{"warning member-away b at 10.0.0.2:2379"}},
		"two of three away": {leaderless, []string{"critical no-quorum", "warning member-away a at 10.0.0.1:2379", "warning member-away b at 10.0.0.2:2379"}},
		"all away":          {away(five(3), 0, 1, 2), []string{"critical no-member-answers"}},
		"one, elsewhere":    {five(1), []string{"notice single-member"}},
		"one, here":         {here, nil},
		"four":              {five(4), []string{"notice even-members"}},
		"a learner":         {learning, []string{"notice even-members", "notice learner c at 10.0.0.3:2379"}},
		"one not named":     {unnamed, []string{"notice member-not-named b at 10.0.0.2:2379"}},
	} {
		if diff := cmp.Diff(row.want, told(judgeReach(row.members))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAMemberThatIsMetAtTwoEndpointsCountsOnce(t *testing.T) {
	t.Parallel()
	met := five(3)
	again := met[0]
	again.endpoint = "a.example.com:2379"
	got := named(append(met, again, member{endpoint: "10.0.0.9:2379", err: context.DeadlineExceeded}), met[0].peers, false)
	var names []string
	for _, m := range got {
		names = append(names, m.called())
	}
	if diff := cmp.Diff([]string{"a at 10.0.0.1:2379", "b at 10.0.0.2:2379", "c at 10.0.0.3:2379", "10.0.0.9:2379"}, names); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func TestVersionsWithKnownFaultsAreTold(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"3.7.3": "", "3.7.1": "", "3.6.14": "", "3.6.16": "", "3.8.0-alpha.0": "", "4.0.0": "",
		"3.7.0": "warning", "3.6.13": "warning", "3.6.9": "warning", "3.5.33": "warning",
		"3.6.8": "critical", "3.6.0": "critical", "3.5.27": "critical", "3.5.1": "critical", "3.4.30": "critical",
	} {
		one := five(1)
		one[0].status.Version = version
		found, err := judgeVersions(one)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range found {
			got = f.Severity.String()
		}
		if got != want {
			t.Errorf("version %s: %q, want %q: %v", version, got, want, found)
		}
	}
	for version, want := range map[string]int{"3.4.30": 6, "3.5.1": 7, "3.6.13": 2, "3.7.0": 2} {
		one := five(1)
		one[0].status.Version = version
		if found, _ := judgeVersions(one); len(found) != 1 || len(found[0].Evidence) != 1+want {
			t.Errorf("version %s has %v, want %d faults", version, found, want)
		}
	}
	mixed := five(3)
	mixed[0].status.Version = "3.6.16"
	found, err := judgeVersions(mixed)
	if diff := cmp.Diff([]string{"notice version-mixed"}, told(found)); diff != "" || err != nil {
		t.Errorf("3.6.16 beside 3.7.3: %v (-want +got):\n%s", err, diff)
	}
	mixed[0].status.Version = "unknown"
	if _, err := judgeVersions(mixed); err == nil {
		t.Error("a version that cannot be read is passed over in silence")
	}
}

func TestADatabaseIsFullByItsShareOfTheQuota(t *testing.T) {
	t.Parallel()
	limit := Thresholds{}.withDefaults()
	for name, row := range map[string]struct {
		size, used, quota int64
		want              []string
	}{
		"nearly empty":         {1 << 20, 1 << 20, 2 << 30, nil},
		"just below":           {799, 799, 1000, nil},
		"four fifths":          {800, 700, 1000, []string{"warning quota-nearly-full a at 10.0.0.1:2379"}},
		"nearly all":           {950, 100, 1000, []string{"critical quota-nearly-full a at 10.0.0.1:2379"}},
		"most of it free":      {300 << 20, 100 << 20, 2 << 30, []string{"notice store-fragmented a at 10.0.0.1:2379"}},
		"free, and too little": {100 << 20, 1 << 20, 2 << 30, nil},
		"an old etcd":          {1 << 30, 1 << 30, 0, nil},
	} {
		one := five(1)
		one[0].status.DbSize, one[0].status.DbSizeInUse, one[0].status.DbSizeQuota = row.size, row.used, row.quota
		if diff := cmp.Diff(row.want, told(judgeSpace(one, limit))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAlarmsAreToldByTheirMember(t *testing.T) {
	t.Parallel()
	got := told(judgeAlarms([]*pb.AlarmMember{{MemberID: 2, Alarm: pb.AlarmType_CORRUPT}, {MemberID: 0xabc, Alarm: pb.AlarmType_NOSPACE}}, five(3)))
	if diff := cmp.Diff([]string{"critical alarm-corrupt b at 10.0.0.2:2379", "critical alarm-nospace abc"}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestCompactionIsMissedByTimeOrElseByTheNumberOfRevisions(t *testing.T) {
	t.Parallel()
	limit, now := Thresholds{}.withDefaults(), time.Now()
	for name, row := range map[string]struct {
		seen past
		off  bool
	}{
		"new":                                   {past{1, 1_000, time.Time{}}, false},
		"never compacted, and much":             {past{1, 100_001, time.Time{}}, true},
		"never compacted, and much in a day":    {past{1, 3_000_000, now.Add(-24 * time.Hour)}, false},
		"compacted, and much":                   {past{5_000_000, 5_900_000, time.Time{}}, false},
		"compacted once, and very much since":   {past{5_000_000, 6_000_000, time.Time{}}, true},
		"little, for a week":                    {past{1, 500, now.Add(-7 * 24 * time.Hour)}, true},
		"much, and its history of the last day": {past{5_000_000, 9_000_000, now.Add(-25 * time.Hour)}, false},
	} {
		if got := judgePast(row.seen, now, limit); (len(got) > 0) != row.off {
			t.Errorf("%s: %v, want a finding: %t", name, got, row.off)
		}
	}
}

func TestAMemberIsSlowOrBehindByWhatIsMeasured(t *testing.T) {
	t.Parallel()
	all := five(3)
	for n := range all {
		all[n].reads, all[n].agrees = time.Millisecond, 3*time.Millisecond
		all[n].status.RaftIndex, all[n].status.RaftAppliedIndex = 5_000, 5_000
	}
	limit := Thresholds{}.withDefaults()
	if got := judgePace(all, limit); len(got) > 0 {
		t.Errorf("well: %v", got)
	}
	all[1].agrees = 600 * time.Millisecond
	all[2].status.RaftIndex, all[2].status.RaftAppliedIndex = 4_000, 3_999
	all[0].readErr = context.DeadlineExceeded
	want := []string{"warning member-behind c at 10.0.0.3:2379", "warning member-slow a at 10.0.0.1:2379", "warning member-slow b at 10.0.0.2:2379"}
	if diff := cmp.Diff(want, told(judgePace(all, limit))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestMetricsTellOfSlowDisksAndOfElections(t *testing.T) {
	t.Parallel()
	limit, now := Thresholds{}.withDefaults(), time.Unix(1_800_000_000, 0)
	text := func(fast, all, changes string) string {
		return `# HELP etcd_disk_wal_fsync_duration_seconds The latency distributions of fsync called by WAL.
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.064"} ` + fast + `
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.128"} ` + fast + `
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.256"} ` + all + `
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} ` + all + `
etcd_server_leader_changes_seen_total ` + changes + `
process_start_time_seconds 1.7999136e+09
`
	}
	for name, row := range map[string]struct {
		text string
		want []string
	}{
		"well":             {text("995", "1000", "2"), nil},
		"a slow disk":      {text("980", "1000", "2"), []string{"warning disk-slow a"}},
		"too few to tell":  {text("1", "99", "2"), nil},
		"many elections":   {text("995", "1000", "13"), []string{"warning leader-changes a"}},
		"hardly any":       {text("995", "1000", "12"), nil},
		"no such metrics":  {"other 7\n", nil},
		"an empty text":    {"", nil},
		"not of this kind": {"<html>\n", nil},
	} {
		m := metrics{member: "a"}.parse(strings.NewReader(row.text))
		found, err := judgeMetrics([]metrics{m}, now, limit)
		if diff := cmp.Diff(row.want, told(found)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if at, _, ok := quantile(map[float64]float64{0.1: 0, math.Inf(1): 200}, 0.99); !ok || at != 0.1 {
		t.Errorf("when all took longer than the last bound: %v, %t", at, ok)
	}
}

func TestAccessIsJudgedByWhoCouldComeIn(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		access access
		want   []string
	}{
		"nobody but this machine":        {access{}, nil},
		"open to all":                    {access{remote: true}, []string{"warning auth-off"}},
		"encrypted, and open to all":     {access{remote: true, encrypted: true}, []string{"warning auth-off"}},
		"certificates":                   {access{remote: true, encrypted: true, identified: true}, nil},
		"users by certificate":           {access{enabled: true, remote: true, encrypted: true, identified: true}, nil},
		"users by password":              {access{enabled: true, user: "svc", token: "XyzzyQ.12"}, []string{"notice simple-tokens", "warning password-auth"}},
		"passwords, and signed tokens":   {access{enabled: true, user: "svc", token: "head.claims.signature"}, []string{"warning password-auth"}},
		"a password that nobody asks of": {access{user: "svc"}, nil},
	} {
		if diff := cmp.Diff(row.want, told(judgeAccess(row.access))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
