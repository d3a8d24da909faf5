package resolver

import (
	"context"
	"sync"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
	"google.golang.org/grpc/resolver"
)

// channel feeds one gRPC channel: it is gRPC's resolver for it.
type channel struct {
	cc resolver.ClientConn
	serviceConfig

	cancel  context.CancelFunc
	leave   func() // gives back what it is fed from; idempotent
	running sync.WaitGroup
}

func newChannel(cc resolver.ClientConn) *channel {
	return &channel{cc: cc, leave: func() {}, cancel: func() {}}
}

// begin feeds the channel from the source of a selection.
func (c *channel) begin(from *sources, reg *rollcall.Registry, sel selection, watch func() watcher) {
	ctx, cancel := context.WithCancel(context.Background())
	s := from.join(reg, sel, watch)
	c.cancel = cancel
	c.leave = sync.OnceFunc(func() { from.leave(s) })
	c.running.Go(func() { c.run(ctx, s) })
}

// Close waits for the channel's goroutine: afterwards gRPC hears nothing more from it. It is idempotent.
func (c *channel) Close() {
	c.cancel()
	c.running.Wait()
	c.leave()
}

// ResolveNow does nothing: gRPC hints that a connection was lost, but the watch brings news by itself, and whether the
// watch is alive is the registry's business, at its own pace.
func (c *channel) ResolveNow(resolver.ResolveNowOptions) {}

// run tells the channel what the source has to tell, until ctx ends or the source does. While gRPC processes an update,
// which it does before UpdateState returns, others go their own pace; what came meanwhile is skipped but for the newest.
func (c *channel) run(ctx context.Context, s *source) {
	var sent *endpoints.View
	for ctx.Err() == nil {
		now, changed := s.follow()
		if now.view != sent {
			c.send(now.view)
			sent = now.view
		}
		if now.err != nil {
			c.cc.ReportError(now.err)
		}
		if now.ended {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (c *channel) send(view *endpoints.View) {
	state := view.State()
	var err error
	if state.ServiceConfig, err = c.under(c.cc, view.Policy); err != nil {
		c.cc.ReportError(plain(err))
	}
	// The error says that the list is empty or the config bad. Asking etcd again would change neither.
	_ = c.cc.UpdateState(state)
}
