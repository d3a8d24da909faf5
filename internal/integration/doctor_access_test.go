package integration

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/doctor"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestADoctorFindsPasswordsAndSaysWhatHeMayNotSee(t *testing.T) {
	t.Parallel()
	etcd, root := withAuth(t, etcdtest.Security{TokenTTL: time.Minute}, append(allOfIt, "user add none")...)
	wantFindings(t, diagnose(t, doctor.Input{Client: root}), []string{"notice simple-tokens", "warning password-auth"}, "certificates", "expiries", "services", "watch")

	// A user for the registry alone: the walk over all of etcd is not his, and everything else is.
	svc := dialAs(t, login(t, etcd, "svc"))
	wantFindings(t, diagnose(t, doctor.Input{Client: svc}), []string{"notice simple-tokens", "warning password-auth"}, "certificates", "expiries", "prefix", "services", "watch")

	// A user without a role: etcd itself can still be judged, by the time that it takes to refuse.
	none := dialAs(t, login(t, etcd, "none"))
	wantFindings(t, diagnose(t, doctor.Input{Client: none}), []string{"notice simple-tokens", "warning password-auth"},
		"addresses", "certificates", "clocks", "compaction", "control", "expiries", "keys", "prefix", "renewal", "services", "ttl", "watch")

	// Nobody: nothing may be seen, nothing is made up.
	nobody := dialAs(t, etcd.Config(t, ""))
	r := diagnose(t, doctor.Input{Client: nobody})
	mustEqual(t, "findings", len(r.Findings), 0)
	for _, c := range r.Checks {
		if c.ID == "members" && (c.Outcome != doctor.Unknown || c.Why != "permission denied") {
			t.Errorf("without a user: %s", inFull(r))
		}
	}
}

func TestADoctorFindsCertificatesThatEndSoonWhereverTheyAre(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	etcd := etcdtest.StartSecured(t, etcdtest.Security{TokenTTL: time.Minute, Authority: authority})
	cfg := etcd.Config(t, "root")
	cfg.Endpoints = []string{"https://" + etcd.Endpoint()}
	file := authority.Issue(t, "file")
	in := doctor.Input{Client: dialAs(t, cfg), TLS: cfg.TLS, Certificates: []doctor.CertificateFile{{Path: authority.File, Use: "of the authority"}, {Path: file.CertFile, Use: "of a file"}}}
	want := []string{
		`"authority", ` + authority.File + " of the authority", `"etcd", shown at ` + cfg.Endpoints[0], `"file", ` + file.CertFile + " of a file", `"root", of the client of etcd`,
	}
	r := diagnose(t, in)
	wantFindings(t, r, []string{"critical certificate-expiring"}, "expiries", "services", "watch")
	mustEqual(t, "certificates", subjects(r, "certificate-expiring"), want)

	// The same one in another file is one finding still.
	in.Certificates = append(in.Certificates, doctor.CertificateFile{Path: file.CertFile, Use: "of another"})
	mustEqual(t, "certificates", subjects(diagnose(t, in), "certificate-expiring"), want)

	// They are good for an hour.
	in.Thresholds = doctor.Thresholds{CertWarning: 2 * time.Hour, CertCritical: time.Minute}
	wantFindings(t, diagnose(t, in), []string{"warning certificate-expiring"}, "expiries", "services", "watch")
	in.Thresholds = doctor.Thresholds{CertWarning: 2 * time.Minute, CertCritical: time.Minute}
	wantFindings(t, diagnose(t, in), nil, "expiries", "services", "watch")

	// When they have ended nothing can be asked by them, and what is shown can still be seen.
	in.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	mustEqual(t, "certificates that have ended", len(subjects(diagnose(t, in), "certificate-expiring")), 4)

	in.Certificates = append(in.Certificates, doctor.CertificateFile{Path: file.KeyFile})
	in.Now = nil
	wantFindings(t, diagnose(t, in), nil, "certificates", "expiries", "services", "watch")
}

func TestADoctorWithoutAPrefixLeavesOthersKeysAlone(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	put(t, client, "web/10.0.0.1:80", `{"Addr":"10.0.0.1:80"}`)
	reg := open(t, s.Endpoint(), rollcall.WithPrefix(""))
	r := doctor.Diagnose(within(t, 30*time.Second), doctor.Input{Client: client, Registry: reg, Thresholds: doctor.Thresholds{LeaderRate: 1e9}})
	for _, c := range r.Checks {
		if c.ID == "keys" && c.Outcome != doctor.Skipped {
			t.Errorf("keys of a registry without a prefix: %s", inFull(r))
		}
	}
	mustEqual(t, "findings", len(r.Findings), 0)
}
