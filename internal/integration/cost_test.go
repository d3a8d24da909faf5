//go:build unix

package integration

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// These tests hold what things cost, in what does not depend on the machine: allocations, bytes, requests, and processor time as a
// ratio to that of something else that is done in turns with it. What they allow is what was measured, and room: they are to fail when
// something costs a multiple, not when it costs a little more. `make bench` has the numbers themselves. Those that look at the whole
// process are not parallel: nothing else runs meanwhile.

// spent is what something cost.
type spent struct {
	cpu           time.Duration
	bytes, allocs float64
}

// costOf measures what a process spends while a function runs, divided by how often that does what it does.
func costOf(times int, do func()) spent {
	var before, after runtime.MemStats
	runtime.GC() // what was left by others is not collected at our cost
	runtime.ReadMemStats(&before)
	cpu := costCPU()
	do()
	cpu = costCPU() - cpu
	runtime.ReadMemStats(&after)
	n := float64(times)
	return spent{cpu / time.Duration(times), float64(after.TotalAlloc-before.TotalAlloc) / n, float64(after.Mallocs-before.Mallocs) / n}
}

func costCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// atMost tries a few times whether a ratio is as small as it should be: a machine that does something else can only make it greater
// by chance.
func atMost(t *testing.T, what string, limit float64, ratio func() float64) {
	t.Helper()
	const tries = 5
	var got []float64
	for range tries {
		got = append(got, ratio())
		if got[len(got)-1] <= limit {
			t.Logf("%s: %.3f", what, got[len(got)-1])
			return
		}
	}
	t.Errorf("%s: %.3f, want at most %.3f", what, got, limit)
}
