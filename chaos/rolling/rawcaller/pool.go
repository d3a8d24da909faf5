package main

import (
	"context"
	"errors"
	"sync"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
)

// pool has a connection to each instance that is to be called, and takes them by turns.
type pool struct {
	known chan struct{} // closed when there is somebody to call
	first sync.Once     // closes it

	mu    sync.Mutex
	slots []*slot // of the latest view, in its order; guarded by mu
	turn  int     // guarded by mu
}

// slot is the place of one instance.
type slot struct {
	addr string
	mu   sync.Mutex
	conn *conn // the latest; nil before the first call; guarded by mu
}

func newPool() *pool { return &pool{known: make(chan struct{})} }

// use has the instances of a view be called from now on. To those that are no longer among them, the calls under way
// come to their end.
func (p *pool) use(v *rollcall.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	had := map[string]*slot{}
	for _, s := range p.slots {
		had[s.addr] = s
	}
	p.slots = nil
	for i := range v.Ready() {
		s := had[i.Addr]
		if s == nil {
			s = &slot{addr: i.Addr}
		}
		delete(had, i.Addr)
		p.slots = append(p.slots, s)
	}
	for _, s := range had {
		s.retire()
	}
	if len(p.slots) > 0 {
		p.first.Do(func() { close(p.known) })
	}
}

// next is whose turn it is; nil if there is nobody.
func (p *pool) next() *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.slots) == 0 {
		return nil
	}
	p.turn++
	return p.slots[p.turn%len(p.slots)]
}

// call makes one call to whoever's turn it is.
func (p *pool) call(ctx context.Context, k work.Kind) work.Outcome {
	s := p.next()
	if s == nil {
		return work.Outcome{Code: "Unavailable", Message: "there is nobody to call"}
	}
	for {
		c, err := s.connected(ctx)
		if err != nil {
			return work.Outcome{Addr: s.addr, Code: "Unavailable", Message: err.Error()}
		}
		a := c.call(ctx, k.Method())
		if errors.Is(a.err, errUnsent) {
			continue // not a byte of it: to make it on the next connection is not to make it again
		}
		if a.err != nil {
			a.code, a.message = "Unavailable", a.err.Error()
		}
		return work.Outcome{Addr: s.addr, Code: a.code, Message: a.message}
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		s.retire()
	}
}

// connected returns a connection that takes new calls, as far as is known: a new one if there is no such, as any client
// would make.
func (s *slot) connected(ctx context.Context) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && s.conn.takesCalls() {
		return s.conn, nil
	}
	c, err := dial(ctx, s.addr)
	if err == nil {
		s.conn = c
	}
	return c, err
}

// retire closes the connection when nothing is under way on it any more. A call that chose the slot a moment ago makes
// another, which ends with the process.
func (s *slot) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.retire()
	}
}
