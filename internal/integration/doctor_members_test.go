package integration

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/doctor"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/internal/server"
)

func TestADoctorFindsNothingInAHealthyClusterAndEachLossInOneThatLosesItsMembers(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartCluster(t, 3)
	client := c.Client(t)
	reg := openAll(t, c.Endpoints(), rollcall.WithFollowAll())
	register(t, reg, "web", rollcall.Instance{Addr: "10.0.0.1:80"})
	register(t, reg, "web", rollcall.Instance{Addr: "10.0.0.2:80", ID: "with/slash %2F"}, rollcall.WithTTL(5*time.Second))
	patient := doctor.Thresholds{CheckTimeout: 30 * time.Second, MemberTimeout: 10 * time.Second, SlowRead: 5 * time.Second, LeaderRate: 12} // this machine may be busy
	wantFindings(t, diagnose(t, doctor.Input{Client: client, Registry: reg, Thresholds: patient}), nil, "certificates", "expiries")

	leaders := 0
	members, alarms := doctor.Glance(within(t, 10*time.Second), doctor.Input{Client: client})
	for _, m := range members {
		if m.Leader {
			leaders++
		}
		if m.Err != "" || m.Version == "" || m.Quota == 0 || m.Name == "" {
			t.Errorf("a member that is well is told as %+v", m)
		}
	}
	if len(members) != 3 || leaders != 1 || len(alarms) > 0 {
		t.Errorf("%d members, %d of which lead, and alarms %v", len(members), leaders, alarms)
	}

	t.Run("one that the endpoints leave out", func(t *testing.T) {
		two, err := clientv3.New(rollcall.ClientConfig(c.Endpoints()[:2]...))
		if err != nil {
			t.Fatal(err)
		}
		defer two.Close()
		r := diagnose(t, doctor.Input{Client: two, Registry: reg, Thresholds: patient})
		wantFindings(t, r, []string{"notice member-not-named"}, "certificates", "expiries")
		mustEqual(t, "subjects", subjects(r, "member-not-named"), []string{"m2 at http://" + c.Endpoints()[2]})
	})

	if err := reg.Close(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	impatient := patient
	impatient.MemberTimeout = 1500 * time.Millisecond
	leader := c.Leader(t)
	var others []*etcdtest.Member
	for n := range 3 {
		if m := c.Member(n); m != leader {
			others = append(others, m)
		}
	}
	t.Run("one that hangs", func(t *testing.T) {
		others[0].Hang()
		r := diagnose(t, doctor.Input{Client: client, Thresholds: impatient})
		wantFindings(t, r, []string{"warning member-away", "warning quorum-at-risk"}, "certificates", "expiries", "services", "watch")
		if r.Took > 20*time.Second {
			t.Errorf("a member that hangs holds everything up for %v", r.Took)
		}
	})
	t.Run("no quorum left", func(t *testing.T) {
		others[1].Kill()
		r := diagnose(t, doctor.Input{Client: client, Thresholds: doctor.Thresholds{CheckTimeout: 5 * time.Second, MemberTimeout: 1500 * time.Millisecond}})
		if r.Worst() != doctor.Critical || len(subjects(r, "no-quorum")) != 1 || len(subjects(r, "member-away")) != 2 {
			t.Errorf("one of three is left: %s", inFull(r))
		}
		if r.Took >= 5*time.Second {
			t.Errorf("questions that nobody can answer were asked all the same: %s", inFull(r))
		}
	})
	t.Run("nobody left", func(t *testing.T) {
		c.KillAll()
		r := diagnose(t, doctor.Input{Client: client, Thresholds: doctor.Thresholds{CheckTimeout: 5 * time.Second, MemberTimeout: 500 * time.Millisecond}})
		if got := findings(r); len(got) != 1 || got[0] != "critical no-member-answers" {
			t.Errorf("nobody is left: %s", inFull(r))
		}
	})
}

func TestADoctorFindsNothingInAFreshServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan server.Info, 1), make(chan error, 1)
	cfg := server.Config{
		DataDir: filepath.Join(dir, "data"), ClientURL: "http://127.0.0.1:0", Prefix: rollcall.DefaultPrefix, GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0",
		StopTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	go func() { ended <- server.Run(ctx, cfg, func(i server.Info) { ready <- i }) }()
	t.Cleanup(func() { cancel(); <-ended })
	var info server.Info
	select {
	case info = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("the server does not start: %v", err)
	}
	client, err := clientv3.New(rollcall.ClientConfig(info.Endpoints...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	reg := openAll(t, info.Endpoints, rollcall.WithFollowAll())
	wantFindings(t, diagnose(t, doctor.Input{Client: client, Registry: reg, Thresholds: doctor.Thresholds{
		CheckTimeout: 30 * time.Second, MemberTimeout: 10 * time.Second, SlowRead: 5 * time.Second, SlowSync: time.Minute, // disks of test machines are what they are
	}}), nil, "certificates", "expiries")
}

func TestADoctorFindsAMemberThatAnswersSlowly(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	link := faultproxy.Start(t, s.Endpoint())
	client, err := clientv3.New(rollcall.ClientConfig(link.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	link.Delay(60 * time.Millisecond)
	r := diagnose(t, doctor.Input{Client: client, Thresholds: doctor.Thresholds{SlowRead: 100 * time.Millisecond, CheckTimeout: 30 * time.Second, MemberTimeout: 10 * time.Second}})
	mustEqual(t, "slow members", len(subjects(r, "member-slow")), 1)
	link.Delay(0)
	r = diagnose(t, doctor.Input{Client: client, Thresholds: doctor.Thresholds{SlowRead: 5 * time.Second, CheckTimeout: 30 * time.Second, MemberTimeout: 10 * time.Second}})
	mustEqual(t, "slow members", len(subjects(r, "member-slow")), 0)
}

// The names are held to a real etcd here; what is made of them is a matter of the doctor's own tests.
func TestTheMetricsThatADoctorReadsAreEtcds(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	req, err := http.NewRequestWithContext(within(t, 10*time.Second), http.MethodGet, "http://"+s.Endpoint()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.128\"} ", "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} ",
		"\netcd_server_leader_changes_seen_total ", "\nprocess_start_time_seconds ",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("etcd's metrics have no line that begins with %s", strings.TrimSpace(line))
		}
	}
}
