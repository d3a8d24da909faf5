package figure

import "time"

// Benchmarks returns what is run in each round.
func Benchmarks() []Benchmark {
	return []Benchmark{
		{Package: "internal/integration", Pattern: "^BenchmarkRegisterToView$", Time: "200x", Short: "30x"},
		{Package: "internal/integration", Pattern: "^BenchmarkRegisterInBulk$"},
		{Package: "internal/integration", Pattern: "^BenchmarkList$"},
		{Package: "internal/integration", Pattern: "^BenchmarkDNS$"},
		{Package: "internal/history", Pattern: "^BenchmarkHistory$", Time: "20000x", Limit: time.Minute},
		{Package: ".", Pattern: "^BenchmarkOneChange$/^instances=/^watchers=1$", Time: "2000x", Short: "200x", Limit: time.Minute},

		{Package: "bench/registry", Pattern: "^BenchmarkColdStart$"},
		{Package: "bench/registry", Pattern: "^BenchmarkHeartbeats$"},
		{Package: "bench/registry", Pattern: "^BenchmarkHerd$"},

		{Package: "bench/channel", Pattern: "^BenchmarkPropagation$"},
		{Package: "bench/channel", Pattern: "^BenchmarkChange$"},
		{Package: "bench/channel", Pattern: "^BenchmarkUpdate$"},
		{Package: "bench/channel", Pattern: "^BenchmarkRestart$"},
		{Package: "bench/channel", Pattern: "^BenchmarkReady$"},
		{Package: "bench/channel", Pattern: "^BenchmarkPick$"},
		{Package: "bench/channel", Pattern: "^BenchmarkPolicyReachesEveryChannel$"},

		{Package: "bench/server", Pattern: "^BenchmarkWatchStreams$"},
		{Package: "bench/server", Pattern: "^BenchmarkWatchEvents$"},
		{Package: "bench/server", Pattern: "^BenchmarkList$"},
		{Package: "bench/server", Pattern: "^BenchmarkRegistrations$"},

		{Package: "internal/xds", Pattern: "^BenchmarkEncodingAChange$"},
		{Package: "internal/xds", Pattern: "^BenchmarkChangeOfOneService$"},
		{Package: "internal/xds", Pattern: "^BenchmarkChangeAmongServices$"},
		{Package: "internal/xds", Pattern: "^BenchmarkReconnection$"},
		{Package: "internal/xds", Pattern: "^BenchmarkChangeOverSockets$"},
	}
}
