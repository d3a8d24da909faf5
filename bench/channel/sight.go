package channel

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// sight looks out for one instance: for the first picker that picks it, or for the first that does so no more. Pickers are
// looked at only from when they can be what is wanted, as looking takes time: from when the connection is READY, or from
// when the instance is no longer listed.
type sight struct {
	mu       sync.Mutex
	addr     string           // guarded by mu; "": there is nothing to be seen
	coming   bool             // guarded by mu; and not going
	due      bool             // guarded by mu; the next picker can be it
	conn     balancer.SubConn // guarded by mu; the instance's, when it was READY last
	tries    int              // guarded by mu; how many picks it takes to know that an instance is not picked
	pickless bool             // there are no pickers: READY and listed are all that there is to be seen
	unlisted bool             // what is listed is not all that the policy knows: any picker can be what is wanted
	at       chan time.Time
}

// look begins to look out.
func (s *sight) look(addr string, coming bool, tries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr, s.coming, s.due, s.tries = addr, coming, s.unlisted && !coming, tries
	s.at = make(chan time.Time, 1)
}

// seen waits until it is seen, and returns when that was, or the zero time if it is not within d.
func (s *sight) seen(d time.Duration) time.Time {
	s.mu.Lock()
	at := s.at
	s.mu.Unlock()
	select {
	case t := <-at:
		return t
	case <-time.After(d):
		return time.Time{}
	}
}

// is tells that the instance is there, or is not, at a time.
func (s *sight) is(addr string, there bool, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == addr && s.coming == there {
		s.see(at)
	}
}

// see wants mu held.
func (s *sight) see(at time.Time) {
	s.addr = ""
	s.at <- at
}

// connected is told of every connection that becomes READY, before the policy is.
func (s *sight) connected(addr string, conn balancer.SubConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr != addr || !s.coming {
		return
	}
	s.conn, s.due = conn, true
	if s.pickless {
		s.see(time.Now())
	}
}

// listed is told of what the resolver lists, before the policy is.
func (s *sight) listed(all []resolver.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == "" || s.coming || s.due {
		return
	}
	s.due = !slices.ContainsFunc(all, func(e resolver.Endpoint) bool { return e.Addresses[0].Addr == s.addr })
	if s.due && s.pickless {
		s.see(time.Now())
	}
}

// published is told of every picker after gRPC was, at a time.
func (s *sight) published(state balancer.State, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == "" || !s.due || state.ConnectivityState != connectivity.Ready {
		return
	}
	if s.picks(state.Picker) == s.coming {
		s.see(at)
	}
}

// picks tells whether a picker picks the instance. It wants mu held.
func (s *sight) picks(p balancer.Picker) bool {
	for range s.tries {
		picked, err := p.Pick(balancer.PickInfo{Ctx: context.Background()})
		if err != nil {
			return false
		}
		if picked.Done != nil {
			picked.Done(balancer.DoneInfo{})
		}
		if picked.SubConn == s.conn {
			return true
		}
	}
	return false
}

// lists is told of a library's lists, at a time.
func (s *sight) lists(addrs []string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr != "" && slices.Contains(addrs, s.addr) == s.coming {
		s.see(at)
	}
}
