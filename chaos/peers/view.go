package main

import (
	"slices"
	"sync"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"google.golang.org/grpc/balancer"
)

// A view is what a watching peer last told its user: a set of addresses.
type view struct {
	journal *journal.Writer
	service string

	mu    sync.Mutex
	shown []string // guarded by mu; sorted
	told  bool     // guarded by mu; there was a list or an error
	err   string   // guarded by mu; of the last thing that was told, if it was an error
}

// newView also tells gRPC of the view, which has to be before there is any channel.
func newView(j *journal.Writer, service string) *view {
	v := &view{journal: j, service: service}
	balancer.Register(policy{view: v})
	return v
}

// show writes that the peer told these addresses, as of a revision if the peer says so, else 0.
func (v *view) show(revision int64, addrs []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tell(revision, distinct(addrs))
}

// poll is show for peers that tell nothing by themselves but are asked: only what differs from the last answer is written.
func (v *view) poll(addrs []string, err error) {
	if err != nil {
		v.mu.Lock()
		same := v.told && v.err == err.Error()
		v.mu.Unlock()
		if !same {
			v.failed(err)
		}
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if addrs = distinct(addrs); !v.told || v.err != "" || !slices.Equal(addrs, v.shown) {
		v.tell(0, addrs)
	}
}

// failed writes that the peer told its user an error instead of addresses.
func (v *view) failed(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.told, v.err = true, err.Error()
	v.journal.Tell(journal.Event{What: journal.Unviewed, Service: v.service, Err: v.err})
}

// tell wants mu held, and addresses that are sorted and distinct.
func (v *view) tell(revision int64, addrs []string) {
	e := journal.Event{What: journal.Viewed, Service: v.service, Revision: revision, Size: len(addrs)}
	for _, addr := range addrs {
		if _, known := slices.BinarySearch(v.shown, addr); !known {
			e.Changed = append(e.Changed, journal.Member{ID: addr})
		}
	}
	for _, addr := range v.shown {
		if _, still := slices.BinarySearch(addrs, addr); !still {
			e.Left = append(e.Left, addr)
		}
	}
	v.shown, v.told, v.err = addrs, true, ""
	v.journal.Tell(e)
}

func distinct(addrs []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(addrs)))
}
