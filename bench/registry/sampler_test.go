//go:build linux

package registry

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"
)

// sampler looks at what etcd has received ten times a second.
type sampler struct {
	cancel context.CancelFunc
	done   chan struct{}
	seen   []account
}

func sample(endpoint string) *sampler {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sampler{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for {
			a, err := accountOf(endpoint)
			if errors.Is(err, syscall.ECONNREFUSED) { // it is away, and will count from 0
				a, err = account{at: time.Now()}, nil
			}
			if err == nil {
				s.seen = append(s.seen, a)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}()
	return s
}

// stop may be called again.
func (s *sampler) stop() {
	s.cancel()
	<-s.done
}

// busiest returns how many requests a second there were up to a moment, and in the busiest second after it, in which etcd began to count
// anew.
func (s *sampler) busiest(moment time.Time) (rest, peak float64) {
	cut := slices.IndexFunc(s.seen, func(a account) bool { return a.at.After(moment) })
	if cut < 2 {
		return 0, 0
	}
	rest = rate(s.seen[0], s.seen[cut-1])
	for from := cut; from < len(s.seen); from++ {
		to := slices.IndexFunc(s.seen[from:], func(a account) bool { return a.at.Sub(s.seen[from].at) >= time.Second })
		if to < 0 {
			break
		}
		peak = max(peak, rate(s.seen[from], s.seen[from+to]))
	}
	return rest, peak
}

func rate(from, to account) float64 {
	return (to.received - from.received) / to.at.Sub(from.at).Seconds()
}
