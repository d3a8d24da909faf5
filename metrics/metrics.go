// Package metrics tells Prometheus how a registry is: what it has registered and follows, whether etcd answers, and what has changed.
//
//	prometheus.MustRegister(metrics.NewCollector(reg))
//
// docs/monitoring.md lists the metrics. A process with several registries gives each a label of its own:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"registry": "eu"}, prometheus.DefaultRegisterer).MustRegister(metrics.NewCollector(eu))
//	prometheus.WrapRegistererWith(prometheus.Labels{"registry": "us"}, prometheus.DefaultRegisterer).MustRegister(metrics.NewCollector(us))
//
// However many services there are, the metrics are bounded: see [WithServices].
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-io/rollcall"
)

// DefaultServices is how many services have metrics of their own unless [WithServices] says otherwise.
const DefaultServices = 100

// Others is the service that the metrics of all services without their own are under. No service can have that name.
const Others = "(others)"

// Option configures a collector.
type Option func(*collector)

// WithServices sets how many services have metrics of their own: the first by name. Of the rest there are the sums, and of what cannot be
// summed the worst, as the service [Others]. The default is [DefaultServices]; with 0 or less there are those only.
func WithServices(n int) Option {
	return func(c *collector) { c.services = max(0, n) }
}

// NewCollector returns a collector for one registry. It does no I/O and holds nobody up. It may outlive the registry, and then tells what that
// knew last.
func NewCollector(reg *rollcall.Registry, opts ...Option) prometheus.Collector {
	c := &collector{registry: reg, services: DefaultServices}
	for _, opt := range opts {
		if opt != nil {
			opt(c)
		}
	}
	return c
}

type collector struct {
	registry *rollcall.Registry
	services int
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range all {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	now := time.Now()
	s := c.registry.Status()
	e := emitter(metrics)
	e.registrations(s, now)
	e.counters(s.Counters)
	e.follows(s.Services, now)
	for _, service := range gather(s.Services, c.services, now) {
		e.service(service)
	}
}

// emitter turns what is known into metrics.
type emitter chan<- prometheus.Metric

func (e emitter) gauge(d *prometheus.Desc, value float64, labels ...string) {
	e <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (e emitter) counter(d *prometheus.Desc, value int64, labels ...string) {
	e <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

// registrations tells of what the registry keeps in etcd.
func (e emitter) registrations(s rollcall.Status, now time.Time) {
	e.gauge(registrations, float64(s.Registrations.Registered), "registered")
	e.gauge(registrations, float64(s.Registrations.Healing), "healing")
	e.gauge(unreachable, since(s.UnreachableSince, now))
	leases := 0
	var age, ratio float64
	for _, l := range s.Leases {
		leases++
		if l.Registrations == 0 || l.LastHeartbeat.IsZero() {
			continue
		}
		silent := since(l.LastHeartbeat, now)
		age, ratio = max(age, silent), max(ratio, silent/l.TTL.Seconds())
	}
	e.gauge(leasesHeld, float64(leases))
	e.gauge(heartbeatAge, age)
	e.gauge(heartbeatRatio, ratio)
}

func (e emitter) counters(c rollcall.Counters) {
	e.counter(registered, c.Registered)
	e.counter(replaced, c.Replaced)
	e.counter(healed, c.Healed)
	e.counter(leasesLost, c.LeasesLost)
	e.counter(skipped, c.Skipped)
	e.counter(views, c.Views)
	e.counter(updates, c.Joined, "joined")
	e.counter(updates, c.Changed, "changed")
	e.counter(updates, c.Left, "left")
	e.counter(updates, c.Expired, "expired")
	e.counter(updates, c.Suspected, "suspected")
}

// follows tells of all services together.
func (e emitter) follows(services []rollcall.ServiceStatus, now time.Time) {
	var newest int64
	var oldest float64
	for _, s := range services {
		newest, oldest = max(newest, s.Revision), max(oldest, since(s.StaleSince, now))
	}
	e.gauge(followed, float64(len(services)))
	e.gauge(revision, float64(newest))
	e.gauge(stale, oldest)
}

// since returns the seconds since a time; 0 if there was none.
func since(t, now time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t).Seconds())
}
