package integration

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// witness reads every view that a watcher has to offer, as it comes.
type witness struct {
	mu   sync.Mutex
	seen []sighting // guarded by mu
}

type sighting struct {
	*rollcall.View
	at time.Time
}

// attend puts a witness to a service that is followed by a registry. The registry must be closed by the test's end.
func attend(t testing.TB, reg *rollcall.Registry, service string) *witness {
	t.Helper()
	w := watch(t, reg, service)
	s := new(witness)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.read(ctx, w) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

func (s *witness) read(ctx context.Context, w *rollcall.Watcher) {
	for {
		v, err := w.Next(ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, sighting{v, time.Now()})
		s.mu.Unlock()
	}
}

// since returns the views that came after a moment, and before them the one that stood then.
func (s *witness) since(moment time.Time) []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.seen, func(v sighting) bool { return v.at.After(moment) })
	if n < 0 {
		n = len(s.seen)
	}
	return slices.Clone(s.seen[max(0, n-1):])
}

// await waits for a view that stood at the given moment or came after it and satisfies cond. It returns the first one.
func (s *witness) await(t testing.TB, moment time.Time, d time.Duration, what string, cond func(*rollcall.View) bool) sighting {
	t.Helper()
	var found sighting
	eventually(t, d, what, func() bool {
		views := s.since(moment)
		n := slices.IndexFunc(views, func(v sighting) bool { return cond(v.View) })
		if n >= 0 {
			found = views[n]
		}
		return n >= 0
	})
	return found
}

func fresh(v *rollcall.View) bool { return v.StaleSince.IsZero() }
func stale(v *rollcall.View) bool { return !fresh(v) }
