package simulation

import (
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// heapInUse returns what the heap holds that is in use.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// It runs beside no other test: it looks at the heap of them all.
func TestWatchersThatGaveUpDuringAnOutageLeaveNothingBehind(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has a heap of its own")
	}
	const n = 20_000
	scene(t, family{}, func(w *world) {
		r := w.join()
		r.follow(other)
		for _, m := range w.cluster.Members() {
			m.Kill()
		}
		w.pass(time.Minute)
		before := heapInUse()
		for range n {
			r.relist(other)
		}
		w.pass(time.Minute)
		if grown := heapInUse() - before; grown > 40*n {
			t.Errorf("%d bytes are held for each of %d watchers that are closed", grown/n, n)
		}
		for _, m := range w.cluster.Members() {
			(*simetcd.Member).Start(m)
		}
		w.pass(5 * time.Second)
	})
}
