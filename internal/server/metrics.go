package server

import (
	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall/metrics"
)

// calls counts what comes in over gRPC, by the names that dashboards know. It is for the network's listener only; its label sets it apart
// from what the embedded etcd counts under the same names.
type calls struct{ *grpcprom.ServerMetrics }

func newCalls() calls {
	label := prometheus.Labels{"listener": "api"}
	return calls{grpcprom.NewServerMetrics(
		grpcprom.WithServerCounterOptions(grpcprom.WithConstLabels(label)),
		grpcprom.WithServerHandlingTimeHistogram(
			grpcprom.WithHistogramConstLabels(label),
			grpcprom.WithHistogramBuckets([]float64{.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10}),
		),
	)}
}

// options count every call of a server, also one that is refused: they come first.
func (c calls) options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(c.UnaryServerInterceptor()), grpc.ChainStreamInterceptor(c.StreamServerInterceptor())}
}

// newPropagation makes the histogram of what a canary finds: how long it takes from a write to the view that tells of it.
func newPropagation() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_propagation_seconds", Help: "Time from writing the server's own instance to the view that tells of it; none is added when that fails.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	})
}

// gatherers have what is to be told of the parts of a server, further collectors among it: the registry's, the API's, certificates' and the
// embedded etcd's, which are the process's.
func gatherers(f *front, more ...prometheus.Collector) []prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(more...)
	own.MustRegister(reach(f.duties.history.Stats)...)
	own.MustRegister(xdsCollectors(f.xds.Stats)...)
	own.MustRegister(
		metrics.NewCollector(f.registry),
		newExpiries(f.cfg),
		gauge("rollcall_api_streams", "Streams that are open on the gRPC listener: watches, and sessions of registered programs.", f.leaving.streams.Load),
		gauge("rollcall_watch_streams", "Watch streams that are open, over gRPC and HTTP.", func() int64 { return f.api.Stats().Streams }),
		counter("rollcall_watch_encodings_total", "Messages that were encoded for watch streams; each goes to any number of them.", func() int64 { return f.api.Stats().Encodings }),
		counter("rollcall_watch_encoded_bytes_total", "Bytes in those messages.", func() int64 { return f.api.Stats().Bytes }),
	)
	if f.dns != nil {
		own.MustRegister(newDNSCollector(f.dns.Stats))
	}
	// One after the other: of gRPC servers there are two, ours and etcd's, whose series go into the same families.
	return []prometheus.Gatherer{prometheus.Gatherers{own, prometheus.DefaultGatherer}}
}

func gauge(name, help string, value func() int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
}

func counter(name, help string, value func() int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
}
