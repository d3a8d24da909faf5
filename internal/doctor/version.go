package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var (
	versionVulnerable = newKind("version-vulnerable", "Etcd has faults that later versions do not",
		"Upgrade, one member after the other, to 3.7.3 or the latest of its line; 3.6.14 and 3.7.1 are the least that is safe.")
	versionMixed = newKind("version-mixed", "Etcd's members are of different versions",
		"Finish the upgrade: a mixed cluster works, but as the oldest of its members does.")
)

// release is a version of etcd.
type release [3]int

func (r release) before(other release) bool { return slices.Compare(r[:], other[:]) < 0 }

// parseRelease reads "3.7.3" or "3.8.0-alpha.0", which counts as the release it leads to.
func parseRelease(s string) (r release, ok bool) {
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != len(r) {
		return r, false
	}
	for n, part := range parts {
		v, err := strconv.Atoi(part)
		if err != nil {
			return r, false
		}
		r[n] = v
	}
	return r, true
}

// flaw is a fault of etcd that was repaired.
type flaw struct {
	what     string
	severity Severity
	since    release   // the first that has it
	fixed    []release // the first of each line that has it no more, oldest line first
}

var flaws = []flaw{
	{"data of members can differ after a crash (etcd issue 13766)", Critical, release{3, 5, 0}, []release{{3, 5, 3}}},
	{"CVE-2026-33413: leases, alarms, compaction and the list of members are open to everybody, authentication or not", Critical, release{}, []release{{3, 5, 28}, {3, 6, 9}}},
	{"CVE-2026-33343: a nested transaction reads and writes what roles forbid", Critical, release{}, []release{{3, 5, 28}, {3, 6, 9}}},
	{"CVE-2026-73499: with permission for one key a watch reads every later key", Warning, release{}, []release{{3, 5, 33}, {3, 6, 14}, {3, 7, 1}}},
	{"GHSA-6vch-q96h-7gc3: TLS handshakes that nobody finishes use etcd up", Warning, release{}, []release{{3, 6, 14}, {3, 7, 1}}},
	{"a read that calls itself linearizable can be stale after a pause (etcd issue 20418)", Warning, release{}, []release{{3, 6, 9}}},
	{"a lease that was revoked is renewed as if it lived (etcd PR 20615)", Warning, release{}, []release{{3, 6, 5}}},
}

// in reports whether a version has the flaw: whether its line has a repair that it is too old for, or none.
func (f flaw) in(r release) bool {
	if r.before(f.since) {
		return false
	}
	for _, fixed := range f.fixed {
		if r[0] == fixed[0] && r[1] == fixed[1] {
			return r.before(fixed)
		}
	}
	return r.before(f.fixed[len(f.fixed)-1])
}

var versionCheck = check{"version", "etcd's version", func(ctx context.Context, p *patient) ([]Finding, error) {
	members, err := p.answering(ctx)
	if err != nil {
		return nil, err
	}
	return judgeVersions(members)
}}

func judgeVersions(members []member) ([]Finding, error) {
	var found []Finding
	var each []string
	versions := map[string]bool{}
	for _, m := range members {
		v := m.status.Version
		r, ok := parseRelease(v)
		if !ok {
			return found, fmt.Errorf("the version %q of %s cannot be read", v, m.called())
		}
		versions[v] = true
		each = append(each, m.called()+": "+v)
		evidence, worst := []string{"version " + v}, Severity(0)
		for _, f := range flaws {
			if f.in(r) {
				evidence, worst = append(evidence, f.what), max(worst, f.severity)
			}
		}
		if worst > 0 {
			found = append(found, versionVulnerable.found(worst, m.called(), evidence...))
		}
	}
	if len(versions) > 1 {
		found = append(found, versionMixed.found(Notice, "", few(each)...))
	}
	return found, nil
}
