package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Below these versions our own promises of security do not hold, whatever the code here does. A module counts with all that lies below it.
var floors = []struct{ path, least, why string }{
	{"go.etcd.io/etcd", "v3.6.14", "before: a watch from one key on reads every later one (CVE-2026-73499), and a handshake of TLS may take for ever (GHSA-6vch-q96h-7gc3)"},
	{"go.etcd.io/etcd", "v3.6.13", "before: a revoked certificate is accepted (GHSA-3wh4-j44w-pg92)"},
	{"go.etcd.io/etcd", "v3.6.11", "before: puts in nested transactions read and attach what they may not (pull requests 21681 and 21685)"},
	{"go.etcd.io/etcd", "v3.6.9", "before: leases, alarms, compaction and members need no permission (CVE-2026-33413), nor do nested transactions (CVE-2026-33343)"},
	{"google.golang.org/grpc", "v1.82.1", "before: a reset flood exhausts a server, and RBAC fails open (GHSA-hrxh-6v49-42gf)"},
	{"google.golang.org/grpc", "v1.79.3", "before: a path without its slash passes by who decides on paths (CVE-2026-33186)"},
}

func TestNoRequirementIsBelowWhatIsSafe(t *testing.T) {
	for _, file := range []string{"go.mod", "chaos/go.mod", "tools/go.mod", "tools/grpcurl/go.mod", "bench/go.mod"} {
		for _, r := range readGoMod(t, file).Require {
			if why := unsafe(t, r.Path, r.Version); why != "" {
				t.Errorf("%s requires %s %s, %s", file, r.Path, r.Version, why)
			}
		}
	}
	for _, f := range floors {
		if !slices.ContainsFunc(readGoMod(t, "go.mod").Require, func(r requirement) bool { return below(r.Path, []string{f.path}) }) {
			t.Errorf("%s is not required any more: drop its floor", f.path)
		}
	}
}

func TestTheFloorsAreFloors(t *testing.T) {
	for version, safe := range map[string]bool{"v3.6.13": false, "v3.6.14": true, "v3.7.3": true, "v3.5.33": false, "v3.10.0": true, "v3.6.14-rc.0": false} {
		if why := unsafe(t, "go.etcd.io/etcd/client/v3", version); (why == "") != safe {
			t.Errorf("etcd %s: %q", version, why)
		}
	}
	for version, safe := range map[string]bool{"v1.82.0": false, "v1.82.1": true, "v1.9.0": false, "v1.100.0": true} {
		if why := unsafe(t, "google.golang.org/grpc", version); (why == "") != safe {
			t.Errorf("grpc %s: %q", version, why)
		}
	}
}

// unsafe returns why a version of a module will not do; "" when it will.
func unsafe(t *testing.T, path, version string) string {
	t.Helper()
	if strings.HasPrefix(version, "v0.0.0-") || strings.HasPrefix(path, "google.golang.org/grpc/") {
		return "" // a module of its own, with versions of its own
	}
	for _, f := range floors {
		if below(path, []string{f.path}) && slices.Compare(parts(t, version), parts(t, f.least)) < 0 {
			return "at least " + f.least + ": " + f.why
		}
	}
	return ""
}

// parts returns the numbers of a version. One before a release is below it.
func parts(t *testing.T, version string) []int {
	t.Helper()
	n := make([]int, 4)
	release, before, _ := strings.Cut(version, "-")
	if _, err := fmt.Sscanf(release, "v%d.%d.%d", &n[0], &n[1], &n[2]); err != nil {
		t.Fatalf("version %q: %v", version, err)
	}
	if before != "" {
		n[3] = -1
	}
	return n
}
