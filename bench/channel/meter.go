//go:build unix

package channel

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"syscall"
	"time"
)

// profileEnv, if set, is where the measured processes write CPU profiles of what is measured: it is the beginning of the
// files' names.
const profileEnv = "ROLLCALL_BENCH_PROFILE"

// quiet is for how long nothing happens in a channel to n instances that has settled. Nothing that is gathered is gathered
// longer.
func quiet(n int) time.Duration { return 100*time.Millisecond + time.Duration(n)*15*time.Microsecond }

// marked is how things stood at the last mark.
type marked struct {
	began            time.Time
	cpu              time.Duration
	bytes            uint64
	updated, dialled int64
}

// hold stops the garbage collector: whether a collection falls into a measurement is chance. collect charges for it.
// Memory that was free before a collection is taken from the process itself, as usual, and not from the system.
func (p *program) hold() {
	debug.SetGCPercent(-1)
	reserve := make([]byte, p.Reserve)
	for n := 0; n < len(reserve); n += 4096 {
		reserve[n] = 1
	}
	runtime.KeepAlive(reserve)
	reserve = nil
	runtime.GC()
	if path := os.Getenv(profileEnv); path != "" {
		f, err := os.Create(fmt.Sprintf("%s.%s.%d", path, p.Service, time.Now().UnixNano()))
		if err != nil {
			fail(err)
		}
		_ = pprof.StartCPUProfile(f)
	}
}

func (p *program) mark() {
	p.updated, p.dialled = p.updates.Load(), p.dials.Load()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p.bytes = mem.TotalAlloc
	p.began, p.cpu = time.Now(), processCPU()
}

// settle waits until the channel is as wanted, and gives account of what has passed since the mark. It sleeps as long as it can: to look every
// few milliseconds would cost as much as some of what is measured.
func (p *program) settle(o order) reading {
	began := time.Now()                     // what was changed last may not have come yet
	deadline := began.Add(10 * time.Minute) // for round_robin with 10,000
	calm := quiet(p.N)
	for {
		last := time.Unix(0, p.last.Load())
		if began.After(last) {
			last = began
		}
		if left := time.Until(last.Add(calm)); left > 0 {
			<-time.After(left)
			continue
		}
		dials, ready := p.dials.Load()-p.dialled, p.ready.Load()
		if dials >= int64(o.Dials) && ready == int64(o.Ready) {
			return p.account()
		}
		if time.Now().After(deadline) {
			return reading{Failed: fmt.Sprintf("%d connections begun of %d, %d READY of %d", dials, o.Dials, ready, o.Ready)}
		}
		<-time.After(calm / 10)
	}
}

// account returns what has passed since the mark.
func (p *program) account() reading {
	r := reading{CPU: processCPU() - p.cpu, Took: max(time.Unix(0, p.last.Load()).Sub(p.began), 0), Updates: int(p.updates.Load() - p.updated), Dials: int(p.dials.Load() - p.dialled)}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r.Bytes = mem.TotalAlloc - p.bytes
	return r
}

// collect ends what hold began, and returns the CPU that collecting some bytes takes in the long run: a collection costs
// what it costs, and is due when as much has been allocated as the last one left, the goroutines' stacks included.
func (p *program) collect(bytes uint64) time.Duration {
	pprof.StopCPUProfile()
	defer debug.SetGCPercent(100)
	began := processCPU()
	runtime.GC()
	took := processCPU() - began
	left := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(left)
	due := max(left[0].Value.Uint64()+left[1].Value.Uint64()+left[2].Value.Uint64(), 4<<20)
	return time.Duration(math.Round(float64(took) * float64(bytes) / float64(due)))
}

// processCPU is what the process has used of the processors, in user and system mode.
func processCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
