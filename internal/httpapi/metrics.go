package httpapi

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// metrics are those of this package, and the page that shows them with all others.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	watches  prometheus.Gauge
	panics   prometheus.Counter
	handler  http.Handler
}

func newMetrics(config Config) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_http_requests_total", Help: "HTTP requests that were answered; an event stream counts when it ends.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_http_request_duration_seconds", Help: "How long answering HTTP requests took, without event streams.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route"}),
		watches: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_http_watches", Help: "Event streams that are open.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_http_panics_total", Help: "Requests that met a mistake of the server's.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "rollcall_build_info", Help: "The program that runs; its value is always 1.",
		ConstLabels: prometheus.Labels{"version": config.Version, "revision": config.Revision, "goversion": runtime.Version()},
	})
	build.Set(1)
	own := prometheus.NewRegistry()
	own.MustRegister(m.requests, m.seconds, m.watches, m.panics, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(append(firstOf{own}, config.Gatherers...), promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8,
	})
	return m
}

// served counts a request. Its labels are of a few values, whatever is asked for.
func (m *metrics) served(route, method string, code int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(code)).Inc()
	if !strings.HasSuffix(route, "/watch") {
		m.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
}

// firstOf gathers from many. Of two families with one name the first counts: what etcd gathers has Go and the process, too.
type firstOf []prometheus.Gatherer

// Gather implements [prometheus.Gatherer].
func (f firstOf) Gather() ([]*dto.MetricFamily, error) {
	byName := map[string]*dto.MetricFamily{}
	var errs []error
	for _, gatherer := range f {
		families, err := gatherer.Gather()
		if err != nil {
			errs = append(errs, err)
		}
		for _, family := range families {
			if byName[family.GetName()] == nil {
				byName[family.GetName()] = family
			}
		}
	}
	families := make([]*dto.MetricFamily, 0, len(byName))
	for _, family := range byName {
		families = append(families, family)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, errors.Join(errs...)
}
