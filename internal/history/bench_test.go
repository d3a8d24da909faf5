package history

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rollcall-io/rollcall"
)

// BenchmarkHistory is what a change costs, and what is kept of it: instances that register, change and say goodbye, 50 bytes of id and
// address each, in services of 100.
func BenchmarkHistory(b *testing.B) {
	for _, most := range []int{10_000, 30_000, 100_000} {
		b.Run(fmt.Sprint(most), func(b *testing.B) {
			h := New(nil, Config{MaxEvents: most})
			h.told.ctx = b.Context()
			take := h.told.take
			take(rollcall.JournalEntry{Kind: rollcall.JournalBegin, Revision: 1})
			take(rollcall.JournalEntry{Kind: rollcall.JournalCaughtUp, Revision: 1})
			before := heap()
			n := 0
			change := func() {
				took(take, n)
				n++
			}
			for range 4 * most { // 3 of 4 are events
				change()
			}
			held := heap() - before
			stats := h.Stats()
			for b.Loop() {
				change()
			}
			b.ReportMetric(float64(held)/float64(stats.Events), "B/event")
			b.ReportMetric(float64(held)/(1<<20), "MiB")
			runtime.KeepAlive(h)
		})
	}
}

// took tells the n-th change of a fleet: an instance joins, changes, leaves and is deleted.
func took(take func(rollcall.JournalEntry) bool, n int) {
	life := n / 4
	i := rollcall.Instance{
		ID: fmt.Sprintf("host-%08d.example.internal:50051", life), Incarnation: fmt.Sprintf("INCARNATION%015d", life),
		Zone: "zone-a", Version: "v1.2.3", Weight: 100,
	}
	i.Addr = i.ID
	changed := i
	changed.Weight = 50
	e := rollcall.JournalEntry{
		Kind: rollcall.JournalChange, About: rollcall.AboutInstance, Revision: int64(n + 2), Service: fmt.Sprintf("service-%d", life/100), ID: i.ID,
	}
	switch n % 4 {
	case 0:
		e.After = rollcall.Fact{Instance: &i, Lease: 7}
	case 1:
		e.Before, e.After = rollcall.Fact{Instance: &i, Lease: 7}, rollcall.Fact{Instance: &changed, Lease: 7}
	case 2:
		e.Before, e.After = rollcall.Fact{Instance: &changed, Lease: 7}, rollcall.Fact{Instance: &changed, Leaving: true, Lease: 7}
	case 3:
		e.Before, e.Deleted = rollcall.Fact{Instance: &changed, Leaving: true, Lease: 7}, true
	}
	take(e)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
