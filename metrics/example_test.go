package metrics_test

import (
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/metrics"
)

func Example() {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
	if err != nil {
		log.Fatal(err)
	}
	prometheus.MustRegister(metrics.NewCollector(reg))
	http.Handle("/metrics", promhttp.Handler())
	log.Fatal(http.ListenAndServe("127.0.0.1:9090", nil))
}
