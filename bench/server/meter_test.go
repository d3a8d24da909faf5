//go:build linux

package server

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf returns what a process has used of the processors, in user and system mode, by its own clock, which counts nanoseconds.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const scheduler = 2 // which of a process's clocks: see the kernel's MAKE_PROCESS_CPUCLOCK
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &at); err != nil {
		b.Fatalf("read the clock of process %d: %v", pid, err)
	}
	return time.Duration(at.Nano())
}

var (
	everAllocated = regexp.MustCompile(`(?m)^# TotalAlloc = (\d+)$`)

	heapInUse  = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)
	stackInUse = regexp.MustCompile(`(?m)^# Stack = (\d+) / `)
)

// memoryOf returns what heap and stacks of a Go program hold once it has collected its garbage, as it says itself at an address with profiles.
func memoryOf(b *testing.B, addr string) float64 {
	b.Helper()
	text := get(b, "http://"+addr+"/debug/pprof/heap?gc=1&debug=1")
	return number(b, heapInUse, text) + number(b, stackInUse, text)
}

func number(b *testing.B, where *regexp.Regexp, text []byte) (sum float64) {
	b.Helper()
	all := where.FindAllSubmatch(text, -1)
	if all == nil {
		b.Fatalf("%s is nowhere in what was answered", where)
	}
	for _, one := range all {
		n, err := strconv.ParseFloat(string(one[1]), 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return sum
}

func get(b *testing.B, url string) []byte {
	b.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return text
}

// host is one or more processes that together serve a contender.
type host struct {
	pids  []int
	pprof []string
}

func (h host) cpu(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, pid := range h.pids {
		sum += cpuOf(b, pid)
	}
	return sum
}

func (h host) memory(b *testing.B) (sum float64) {
	b.Helper()
	for _, addr := range h.pprof {
		sum += memoryOf(b, addr)
	}
	return sum
}

// allocated is all that the processes have ever allocated, in bytes, what is freed included.
func (h host) allocated(b *testing.B) (sum float64) {
	b.Helper()
	for _, addr := range h.pprof {
		sum += number(b, everAllocated, get(b, "http://"+addr+"/debug/pprof/heap?debug=1"))
	}
	return sum
}

// spread is how long many took.
type spread struct{ P50, P99, Max time.Duration }

// spreadOf sorts the times.
func spreadOf(times []time.Duration) spread {
	if len(times) == 0 {
		return spread{}
	}
	slices.Sort(times)
	return spread{times[len(times)/2], times[len(times)*99/100], times[len(times)-1]}
}

// middle is the median of something of many.
func middle[T any](list []T, of func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, one := range list {
		values[i] = of(one)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }
func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// maximum is the most of something of many.
func maximum[T any](list []T, of func(T) float64) (most float64) {
	for _, one := range list {
		most = max(most, of(one))
	}
	return most
}

// report reports one of a contender's quantities.
func report(b *testing.B, contender, quantity string, value float64) {
	b.ReportMetric(value, fmt.Sprintf("%s-%s", contender, quantity))
}
