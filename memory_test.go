package rollcall

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// heapNow returns what the heap holds that is in use.
func heapNow() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func TestAWatcherThatNeverReadsHoldsTwoViewsAtMost(t *testing.T) {
	const n = 20_000
	id := func(k int) string { return fmt.Sprintf("10.0.%d.%d:50051", k>>8, k&255) }
	empty := heapNow()
	f := newFeed("svc", testDir, newSettings(nil))
	list := make([]follow.Change, n)
	for k := range list {
		list[k] = put(id(k), int64(k+1), "")
	}
	f.Apply(follow.Batch{Header: follow.Header{Revision: n}, Changes: list, Relisted: true})
	list = nil
	one := heapNow() - empty

	last, _, _ := f.newer(0, nil) // the watcher reads once, and never again
	const batch = 500
	for first := 0; first < 3*n; first += batch {
		changes := make([]follow.Change, batch)
		for k := range changes {
			changes[k] = put(id((first+k)%n), int64(n+first+k+1), "")
		}
		f.Apply(follow.Batch{Header: follow.Header{Revision: int64(n + first + batch)}, Changes: changes})
	}
	all := heapNow() - empty
	// Beside the views there is the ring, of a size that does not depend on them.
	if all > 2.1*one+ringUpdates*2048 {
		t.Errorf("a view takes %.1f MB, all of it %.1f MB after 60,000 changes that nobody read", one/1e6, all/1e6)
	}
	t.Logf("a view takes %.1f MB, all of it %.1f MB", one/1e6, all/1e6)
	runtime.KeepAlive(last)
	runtime.KeepAlive(list)
	runtime.KeepAlive(f)
}
