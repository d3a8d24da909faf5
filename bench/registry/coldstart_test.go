//go:build linux

package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// BenchmarkColdStart measures how long a program that starts takes to its first complete view, from making its client, what CPU that
// costs it, and what it has in memory then: at the most, and for good. With "one" it is a service of N instances, with "all" all services
// of a registry that has N instances, 100 to a service. Each contender has listed one instance before, so that its code is in memory.
//
// raw is etcd's client alone, a streamed get decoded by encoding/json into structs in a map. Go-zero keeps addresses only, and decodes
// nothing; it and kratos read what they write themselves.
func BenchmarkColdStart(b *testing.B) {
	for _, n := range sizes(1000, 10_000, 100_000) {
		b.Run(fmt.Sprintf("N=%d/one", n), func(b *testing.B) {
			peers := []string{"rollcall", "raw", "etcd-rr"}
			if n <= 10_000 && !testing.Short() || long {
				peers = append(peers, "gozero", "kratos")
			}
			coldStart(b, peers, 1, n)
		})
		b.Run(fmt.Sprintf("N=%d/all", n), func(b *testing.B) { coldStart(b, []string{"rollcall", "raw"}, n/perService, perService) })
	}
}

func coldStart(b *testing.B, names []string, services, instances int) {
	b.Helper()
	etcd := startStore(b)
	for _, write := range []layout{rollcallLayout("warm/services/"), goZeroLayout, kratosLayout} {
		fill(b, etcd.endpoint, func(_, addr string) (string, string) { return write("warm", addr) }, 1, 1)
	}
	fill(b, etcd.endpoint, rollcallLayout("rollcall/services/"), services, instances)
	for _, name := range names[min(len(names), 3):] {
		fill(b, etcd.endpoint, layoutOf(name), services, instances)
	}
	j := job{Do: "list", Endpoint: etcd.endpoint, Prefix: "rollcall"}
	if services == 1 {
		j.Service = service(0)
	}
	all := map[string][]answer{}
	for b.Loop() {
		for _, name := range names {
			p := start(b, name)
			a, err := p.ask(j)
			if err != nil || a.Instances != services*instances {
				b.Fatalf("%s lists %d instances, %v", name, a.Instances, err)
			}
			p.end()
			all[name] = append(all[name], a)
		}
	}
	for _, name := range names {
		reportColdStart(b, name, all[name], float64(services*instances))
	}
	b.ReportMetric(0, "ns/op")
}

func reportColdStart(b *testing.B, name string, all []answer, n float64) {
	report := func(unit string, value func(answer) float64) { b.ReportMetric(median(all, value), name+"-"+unit) }
	report("ms", func(a answer) float64 { return millis(a.Took) })
	report("cpu-ms", func(a answer) float64 { return millis(a.CPU) })
	report("peak-B", func(a answer) float64 { return float64(a.Full.Peak-a.Base.Now) / n })
	report("resident-B", func(a answer) float64 { return float64(a.Full.Now-a.Base.Now) / n })
	report("heap-B", func(a answer) float64 { return float64(a.Heap) / n })
}

// measureList is the contender's part.
func (s *stage) measureList(ctx context.Context, j job) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	warm := j
	warm.Prefix, warm.Service = "warm", "warm"
	if _, _, err := s.list(ctx, warm); err != nil {
		return a, err
	}
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak begins anew, where the kernel lets it
	heap, began := int64(0), time.Time{}
	if a.Base, heap, err = settled(); err != nil {
		return a, err
	}
	cpu, err := cpuOf(os.Getpid())
	if err != nil {
		return a, err
	}
	began = time.Now()
	n, held, err := s.list(ctx, j)
	a.Took, a.Instances = time.Since(began), n
	if err != nil {
		return a, err
	}
	after, err1 := cpuOf(os.Getpid())
	a.CPU = after - cpu
	peak, err2 := memoryOf(os.Getpid())
	full, with, err3 := settled()
	a.Full, a.Heap = memory{Now: full.Now, Peak: peak.Peak}, with-heap
	runtime.KeepAlive(held)
	return a, errors.Join(err1, err2, err3)
}

// settled returns what this process has in memory, and alive on its heap, when nothing is garbage and nothing kept for later.
func settled() (m memory, heap int64, err error) {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what finalizers let go
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m, err = memoryOf(os.Getpid())
	return m, int64(stats.HeapAlloc), err
}
