package channel

// Env is the environment variable that describes a process of the benchmarks to itself.
const Env = "ROLLCALL_BENCH_CHANNEL"
