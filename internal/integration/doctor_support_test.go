package integration

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/doctor"
)

// diagnose lets the doctor look, under the usual prefix.
func diagnose(t *testing.T, in doctor.Input) doctor.Report {
	t.Helper()
	in.Prefix = rollcall.DefaultPrefix
	if in.Thresholds.LeaderRate == 0 {
		in.Thresholds.LeaderRate = 1e9 // etcds of one process count their leaders together
	}
	return doctor.Diagnose(within(t, 60*time.Second), in)
}

// findings writes what was found as "severity id", sorted, each once.
func findings(r doctor.Report) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.Severity.String()+" "+f.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wantFindings asserts what was found, and that the checks that are not named were made.
func wantFindings(t *testing.T, r doctor.Report, found []string, notMade ...string) {
	t.Helper()
	if diff := cmp.Diff(found, findings(r)); diff != "" {
		t.Errorf("findings (-want +got):\n%s%s", diff, inFull(r))
	}
	var missing []string
	for _, c := range r.Checks {
		if c.Outcome != doctor.Well && c.Outcome != doctor.Found {
			missing = append(missing, c.ID)
		}
	}
	slices.Sort(missing)
	slices.Sort(notMade)
	if diff := cmp.Diff(notMade, missing); diff != "" {
		t.Errorf("checks that were not made (-want +got):\n%s%s", diff, inFull(r))
	}
}

// subjects returns what findings of one kind are about, sorted.
func subjects(r doctor.Report, id string) []string {
	var all []string
	for _, f := range r.Findings {
		if f.ID == id {
			all = append(all, f.Subject)
		}
	}
	slices.Sort(all)
	return all
}

func inFull(r doctor.Report) string {
	text := fmt.Sprintf("in %v:\n", r.Took)
	for _, f := range r.Findings {
		text += fmt.Sprintf("  %v %s %q: %q\n", f.Severity, f.ID, f.Subject, f.Evidence)
	}
	for _, c := range r.Checks {
		text += fmt.Sprintf("  %s: %s %s in %v\n", c.ID, c.Outcome, c.Why, c.Took)
	}
	return text
}

// startOdd starts an etcd that is configured as none should be, and returns its endpoint.
func startOdd(t *testing.T, configure func(*embed.Config)) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.TickMs, cfg.ElectionMs, cfg.UnsafeNoFsync, cfg.EnableGRPCGateway = 10, 100, true, false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	configure(cfg)
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	select {
	case <-etcd.Server.ReadyNotify():
	case <-within(t, 20*time.Second).Done():
		t.Fatal("etcd is not ready")
	}
	return etcd.Clients[0].Addr().String()
}
