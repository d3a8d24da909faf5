package doctor

import "time"

// Thresholds are where a measurement becomes a finding. What is zero gets the default that is named.
type Thresholds struct {
	CheckTimeout  time.Duration // of one check: 8s
	MemberTimeout time.Duration // of a member, to answer at all: 2s

	QuotaWarning, QuotaCritical float64       // used share of etcd's quota: 0.8, 0.95
	FragmentedSize              int64         // size of the database from which free pages in it are worth a word: 256 MiB
	History                     time.Duration // further back than this etcd should not remember: 7 days
	Revisions                   int64         // more than this it should not remember when nobody knows since when: 1,000,000

	SlowRead     time.Duration // a linearizable read, the median of three: 500ms
	SlowSync     time.Duration // a write of etcd's log to the disk, the 99th percentile: 100ms
	ApplyLag     uint64        // entries that a member is behind: 1,000
	LeaderRate   float64       // changes of the leader in a day: 12, and three at least
	Leases       int           // in etcd: 10,000
	ExpiryRate   float64       // expiries of an instance in an hour: 0.2, and ten in all at least
	CertWarning  time.Duration // before a certificate ends: 30 days
	CertCritical time.Duration // see above: 7 days
	ClockSkew    time.Duration // between two clocks: 5s
	BeatAge      time.Duration // of the last sign of a server's: 1 minute
	LongTTL      time.Duration // after which a crash is noticed: 5 minutes
	Orphan       time.Duration // for how long a decision may be about nobody: 24h
	WatchGrace   time.Duration // that a view may be behind etcd: 3s
}

func (t Thresholds) withDefaults() Thresholds {
	fill(&t.CheckTimeout, 8*time.Second)
	fill(&t.MemberTimeout, 2*time.Second)
	fill(&t.QuotaWarning, 0.8)
	fill(&t.QuotaCritical, 0.95)
	fill(&t.FragmentedSize, 256<<20)
	fill(&t.History, 7*24*time.Hour)
	fill(&t.Revisions, 1_000_000)
	fill(&t.SlowRead, 500*time.Millisecond)
	fill(&t.SlowSync, 100*time.Millisecond)
	fill(&t.ApplyLag, 1_000)
	fill(&t.LeaderRate, 12)
	fill(&t.Leases, 10_000)
	fill(&t.ExpiryRate, 0.2)
	fill(&t.CertWarning, 30*24*time.Hour)
	fill(&t.CertCritical, 7*24*time.Hour)
	fill(&t.ClockSkew, 5*time.Second)
	fill(&t.BeatAge, time.Minute)
	fill(&t.LongTTL, 5*time.Minute)
	fill(&t.Orphan, 24*time.Hour)
	fill(&t.WatchGrace, 3*time.Second)
	return t
}

func fill[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}
