package rollcall

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// What a change costs does not depend on the machine: so many allocations, whatever the size of the service, and of its bytes a
// pointer for each instance, as a view is never changed. No other test runs meanwhile.
func TestAChangeCostsAPointerForEachInstanceAndNoMore(t *testing.T) {
	const mostAllocs, mostBytes = 30, 3000 // 18 and 2,200, among 100
	few, many, most := costOfAChange(t, 100, 1), costOfAChange(t, 1000, 1), costOfAChange(t, 10_000, 1)
	for _, c := range []allocated{few, many, most} {
		if c.allocs > mostAllocs || c.allocs > few.allocs+2 {
			t.Errorf("%.1f allocations for a change, among the fewest %.1f", c.allocs, few.allocs)
		}
	}
	if few.bytes > mostBytes {
		t.Errorf("%.0f bytes for a change among 100", few.bytes)
	}
	if each := (most.bytes - many.bytes) / 9000; each > 12 { // a pointer, and what is rounded up
		t.Errorf("%.1f bytes of a change for each instance: %+v, %+v, %+v", each, few, many, most)
	}
}

func TestAWatcherMoreCostsAChangeNextToNothing(t *testing.T) {
	one, many := costOfAChange(t, 1000, 1), costOfAChange(t, 1000, 101)
	if each := (many.allocs - one.allocs) / 100; each > 1.1 {
		t.Errorf("%.2f allocations for each watcher more: %+v, %+v", each, one, many)
	}
	if each := (many.bytes - one.bytes) / 100; each > 600 {
		t.Errorf("%.0f bytes for each watcher more: %+v, %+v", each, one, many)
	}
}

// allocated is what one change allocates.
type allocated struct{ allocs, bytes float64 }

// costOfAChange measures the change of one instance of so many, until so many watchers have taken it.
func costOfAChange(t *testing.T, instances, watchers int) allocated {
	t.Helper()
	f := newFollower(t).f
	revision := int64(1)
	change := func(n int) {
		f.Apply(follow.Batch{Header: follow.Header{Revision: revision}, Changes: []follow.Change{put(fmt.Sprintf("i%05d", n), revision, "")}})
		revision++
	}
	for n := range instances {
		change(n)
	}
	last := f.view
	_, seq, _ := f.newer(0, nil)
	seqs := make([]uint64, watchers)
	for w := range seqs {
		seqs[w] = seq
	}
	const changes = 100
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range changes {
		change(n)
		for w := range seqs {
			v, seq, _ := f.newer(seqs[w], last)
			if len(v.Updates) != 1 {
				t.Fatal(v.Updates)
			}
			seqs[w] = seq
		}
	}
	runtime.ReadMemStats(&after)
	return allocated{float64(after.Mallocs-before.Mallocs) / changes, float64(after.TotalAlloc-before.TotalAlloc) / changes}
}
