package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-io/rollcall/internal/check"
	"github.com/rollcall-io/rollcall/internal/history"
	"github.com/rollcall-io/rollcall/internal/xds"
)

// reach tells how far a history reaches, at both ends.
func reach(stats func() history.Stats) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("rollcall_history_revision", "Revision of etcd up to which the history has read.", func() int64 { return stats().Revision }),
		gauge("rollcall_history_begin_timestamp_seconds", "When the history begins, as a Unix time; 0 while nobody knows.", func() int64 {
			if begin := stats().Began.Time; !begin.IsZero() {
				return begin.Unix()
			}
			return 0
		}),
	}
}

// checkCollector tells of the active checks that fall to a server.
type checkCollector struct {
	stats                                              func() check.Stats
	checks, servers, pending, probes, lateness, report *prometheus.Desc
}

func newCheckCollector(stats func() check.Stats) *checkCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rollcall_check"+name, help, labels, nil)
	}
	return &checkCollector{
		stats:    stats,
		checks:   desc("s", "Instances that this server checks, by state: passing or failing.", "state"),
		servers:  desc("_servers", "Servers that share the checks, as far as this one knows."),
		pending:  desc("_probes_pending", "Probes that are under way (running), and those that are due and wait for others to end (waiting).", "state"),
		probes:   desc("_probes_total", "Probes that were made, by their result.", "result"),
		lateness: desc("_lateness_seconds", "How long after their time probes began."),
		report:   desc("_reports_total", "Writes of what was found, by outcome: written, or failed and to be tried again.", "outcome"),
	}
}

// Describe implements [prometheus.Collector].
func (c *checkCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.checks, c.servers, c.pending, c.probes, c.lateness, c.report} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *checkCollector) Collect(told chan<- prometheus.Metric) {
	s := c.stats()
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		told <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, label string) {
		told <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), label)
	}
	gauge(c.checks, s.Checked-s.Failing, "passing")
	gauge(c.checks, s.Failing, "failing")
	gauge(c.servers, s.Servers)
	gauge(c.pending, s.UnderWay, "running")
	gauge(c.pending, s.Waiting, "waiting")
	for result, n := range s.Probes {
		counter(c.probes, n, result)
	}
	counter(c.report, s.Reports, "written")
	counter(c.report, s.ReportFailures, "failed")
	told <- prometheus.MustNewConstHistogram(c.lateness, s.Late.Count, s.Late.Sum.Seconds(), bucketsOf(s.Late))
}

func bucketsOf(l check.Lateness) map[float64]uint64 {
	buckets := make(map[float64]uint64, len(l.Bounds))
	for i, bound := range l.Bounds {
		buckets[float64(bound)/float64(time.Second)] = l.Counts[i]
	}
	return buckets
}

// xdsCollectors tell of xDS.
func xdsCollectors(stats func() xds.Stats) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("rollcall_xds_streams", "Streams of xDS clients that are open.", func() int64 { return int64(stats().Streams) }),
		gauge("rollcall_xds_subscriptions", "Names that xDS clients watch, each counted once for each stream and type.", func() int64 { return stats().Subscriptions }),
		counter("rollcall_xds_responses_total", "Responses that were sent to xDS clients.", func() int64 { return stats().Responses }),
		counter("rollcall_xds_response_bytes_total", "Bytes in those responses.", func() int64 { return stats().Bytes }),
		counter("rollcall_xds_encodings_total", "Resources that were encoded for xDS clients; each goes to any number of them.", func() int64 { return stats().Encodings }),
		counter("rollcall_xds_refusals_total", "Responses that an xDS client refused.", func() int64 { return stats().Refusals }),
		counter("rollcall_xds_turned_away_total", "Streams of xDS clients that a limit did not let in, or ended.", func() int64 { return stats().TurnedAway }),
	}
}
