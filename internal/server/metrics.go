package server

import "github.com/prometheus/client_golang/prometheus"

// gatherers have what is to be told of the parts of a server: the embedded etcd's metrics, which are the process's, and the API's.
func gatherers(f *front) []prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "rollcall_watch_streams", Help: "Watch streams that are open, over gRPC and HTTP.",
		}, func() float64 { return float64(f.api.Stats().Streams) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "rollcall_watch_encodings_total", Help: "Messages that were encoded for watch streams; each goes to any number of them.",
		}, func() float64 { return float64(f.api.Stats().Encodings) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "rollcall_watch_encoded_bytes_total", Help: "Bytes in those messages.",
		}, func() float64 { return float64(f.api.Stats().Bytes) }),
	)
	return []prometheus.Gatherer{own, prometheus.DefaultGatherer}
}
