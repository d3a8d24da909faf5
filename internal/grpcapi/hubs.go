package grpcapi

import (
	"context"
	"time"
)

// topic is what a hub tells of: one service, or all whose names begin with a prefix.
type topic struct {
	all   bool
	name  string
	sight string // of all services, those that all the streams may be told of
}

// join returns the hub of a topic for one more stream, and starts it if there is none.
func (a *API) join(t topic, begin func() teller) (*hub, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errStopping
	}
	h := a.hubs[t]
	if h == nil {
		h = &hub{api: a, topic: t, teller: begin(), changed: make(chan struct{})}
		h.wake()
		var ctx context.Context
		ctx, h.cancel = context.WithCancel(a.ctx)
		a.hubs[t] = h
		a.wg.Go(func() { h.run(ctx) })
	}
	h.users++
	h.stopIdle()
	a.counts.streams.Add(1)
	return h, nil
}

// leave gives a hub back.
func (h *hub) leave() {
	a := h.api
	a.counts.streams.Add(-1)
	a.mu.Lock()
	defer a.mu.Unlock()
	h.users--
	if h.users > 0 || a.closed {
		return
	}
	h.idle = time.AfterFunc(linger, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if h.users == 0 && a.hubs[h.topic] == h {
			delete(a.hubs, h.topic)
			h.cancel()
		}
	})
}

// stopIdle is called with the API's mu held.
func (h *hub) stopIdle() {
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
}
