package rollcall

import (
	"fmt"
	"testing"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// BenchmarkOneChange is what one changed instance costs: decoded, told from the view before, and taken by every watcher.
// It should grow with the watchers, and with the instances by a copy of pointers only.
func BenchmarkOneChange(b *testing.B) {
	for _, instances := range []int{100, 1000, 10_000} {
		for _, watchers := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("instances=%d/watchers=%d", instances, watchers), func(b *testing.B) {
				benchmarkChange(b, instances, watchers)
			})
		}
	}
}

func benchmarkChange(b *testing.B, instances, watchers int) {
	f := newFollower(b).f
	revision := int64(1)
	change := func(n int) {
		f.Apply(follow.Batch{Header: follow.Header{Revision: revision}, Changes: []follow.Change{put(fmt.Sprintf("i%05d", n), revision, "")}})
		revision++
	}
	for n := range instances {
		change(n)
	}
	_, seq, _ := f.newer(0, nil)
	seqs := make([]uint64, watchers)
	for w := range seqs {
		seqs[w] = seq
	}
	last := f.view
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		change(n % instances)
		for w := range seqs {
			v, seq, _ := f.newer(seqs[w], last)
			if len(v.Updates) != 1 {
				b.Fatal(v.Updates)
			}
			seqs[w] = seq
		}
	}
}
