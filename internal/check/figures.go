package check

import (
	"maps"
	"sync"
	"time"
)

// latenessBounds are the upper bounds of the buckets of Lateness.
var latenessBounds = []time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

// Stats is what a checker does, and has done since it was made.
type Stats struct {
	Servers int // that share the checks, as far as this one knows; 0: this one is alone and not registered
	Checked int // instances that fall to this server
	Failing int // of those, unhealthy ones

	UnderWay int               // probes
	Waiting  int               // probes that are due and wait for others to end
	Probes   map[string]uint64 // made, by result: see Observation

	Late           Lateness
	Reports        uint64 // written to the registry
	ReportFailures uint64 // tries to write one that failed; it is tried again
}

// Lateness is how long after their time probes began: how many, for each bound, by at most so much.
type Lateness struct {
	Bounds []time.Duration // ascending; must not be changed
	Counts []uint64        // cumulative, as long as Bounds
	Count  uint64          // of all
	Sum    time.Duration
}

// figures are Stats in the making.
type figures struct {
	mu   sync.Mutex
	now  Stats // without Late.Bounds
	late [9]uint64
}

// Stats returns what the checker does. It may be called at any time.
func (c *Checker) Stats() Stats {
	f := &c.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.now
	s.Probes = maps.Clone(f.now.Probes)
	s.Late.Bounds, s.Late.Counts = latenessBounds, make([]uint64, len(latenessBounds))
	var total uint64
	for n, count := range f.late {
		total += count
		s.Late.Counts[n] = total
	}
	return s
}

func (f *figures) probed(o Observation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now.Probes == nil {
		f.now.Probes = map[string]uint64{}
	}
	f.now.Probes[o.Result]++
	f.now.Late.Count++
	f.now.Late.Sum += o.Late
	for n, bound := range latenessBounds {
		if o.Late <= bound {
			f.late[n]++
			break
		}
	}
}

func (f *figures) reported(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.now.ReportFailures++
	} else {
		f.now.Reports++
	}
}

// set takes over what the loop knows.
func (f *figures) set(servers, checked, failing, underWay, waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.Servers, f.now.Checked, f.now.Failing, f.now.UnderWay, f.now.Waiting = servers, checked, failing, underWay, waiting
}
