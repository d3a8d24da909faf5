// Package doctor looks at a registry and at the etcd below it, and says what will hurt before it does: what was found, by which
// measurement, and what to do about it.
//
// It only reads. Each check is a file of its own, bounded in time and independent of the others: a member that hangs makes the checks
// that need it say that they could not be made, and no others. What a look measures is judged by functions that do no I/O.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// atOnce bounds how many checks are made at the same time.
const atOnce = 8

// Input is what is to be looked at. Only Client is needed; what depends on something that is not there is skipped, and the report says so.
type Input struct {
	Client *clientv3.Client // of the etcd; it stays the caller's
	Prefix string           // of the registry, as in rollcall.WithPrefix

	// TLS is what the client speaks to etcd with, to look at its members' certificates and to read their metrics; nil: it does not.
	TLS *tls.Config

	// Registry is one that follows everything, for what only a registry knows: whether it is current, and who is suspect.
	Registry *rollcall.Registry

	Certificates []CertificateFile // those in use, besides what etcd shows
	Expiries     Expiries          // that were counted; the zero value: nobody counted

	Now        func() time.Time // default: time.Now
	Thresholds Thresholds       // what is zero in it gets its default
}

// Expiries counts the instances that went without a goodbye.
type Expiries struct {
	Count  int
	Within time.Duration
}

// Outcome is what became of a check.
type Outcome string

// The outcomes of a check.
const (
	Well    Outcome = "well"    // it was made, and found nothing
	Found   Outcome = "found"   // it was made, and found something
	Unknown Outcome = "unknown" // it could not be made
	Skipped Outcome = "skipped" // there is nothing that it applies to
)

// Check is one thing that was looked at.
type Check struct {
	ID      string        `json:"id"`
	Title   string        `json:"title"`
	Outcome Outcome       `json:"outcome"`
	Why     string        `json:"why,omitempty"` // it could not be made, or was skipped
	Took    time.Duration `json:"took"`
}

// Report is a diagnosis.
type Report struct {
	Time     time.Time     `json:"time"`
	Took     time.Duration `json:"took"`
	Findings []Finding     `json:"findings"` // the worst first
	Checks   []Check       `json:"checks"`   // always all of them, in the same order
}

// Worst returns the severity of the worst finding; zero when there is none.
func (r Report) Worst() Severity {
	if len(r.Findings) == 0 {
		return 0
	}
	return r.Findings[0].Severity
}

// check is something to look at. An error of look says that it could not; one made by skip, that it does not apply.
type check struct {
	id, title string
	look      func(context.Context, *patient) ([]Finding, error)
}

var checks = []check{
	reachCheck, versionCheck, spaceCheck, alarmCheck, compactionCheck, paceCheck, diskCheck, certificateCheck, accessCheck,
	leaseCheck, renewalCheck, ttlCheck, expiryCheck, keyCheck, controlCheck, prefixCheck, addressCheck, serviceCheck, watchCheck, clockCheck,
}

// Diagnose looks at everything. It never fails: what it could not look at, the report says. It takes as long as the slowest check, a few
// seconds when a member hangs, and ends early with ctx.
func Diagnose(ctx context.Context, in Input) Report {
	in.Thresholds = in.Thresholds.withDefaults()
	if in.Now == nil {
		in.Now = time.Now
	}
	began := time.Now()
	p := newPatient(in)
	defer p.close()
	report := Report{Time: in.Now(), Checks: make([]Check, len(checks))}
	found := make([][]Finding, len(checks))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for n, c := range checks {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			report.Checks[n], found[n] = c.make(ctx, p)
		})
	}
	wg.Wait()
	report.Findings = slices.Concat(found...)
	slices.SortStableFunc(report.Findings, func(a, b Finding) int {
		if a.Severity != b.Severity {
			return int(b.Severity) - int(a.Severity)
		}
		return strings.Compare(a.ID+"\x00"+a.Subject, b.ID+"\x00"+b.Subject)
	})
	report.Took = time.Since(began)
	return report
}

// skip is why a check does not apply.
type skip string

func (s skip) Error() string { return string(s) }

// make makes a check, within its time.
func (c check) make(ctx context.Context, p *patient) (Check, []Finding) {
	ctx, cancel := context.WithTimeout(ctx, p.Thresholds.CheckTimeout)
	defer cancel()
	began := time.Now()
	found, err := c.look(ctx, p)
	done := Check{ID: c.id, Title: c.title, Took: time.Since(began)}
	switch _, skipped := errors.AsType[skip](err); {
	case len(found) > 0: // what else could not be seen matters less
		done.Outcome = Found
	case skipped:
		done.Outcome = Skipped
	case err != nil:
		done.Outcome = Unknown
	default:
		done.Outcome = Well
	}
	if err != nil {
		done.Why = inWords(err)
	}
	return done, found
}
