//go:build unix

package integration

import (
	"syscall"
	"time"
)

// longEnv, if set, has the benchmarks include what takes minutes.
const longEnv = "ROLLCALL_BENCH_LONG"

// processCPU is what the process has used of the processors, in user and system mode.
func processCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
