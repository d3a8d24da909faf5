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
	cc      resolver.ClientConn
	news    chan struct{}  // holds one token when the source may have what the channel was not told
	link    endpoints.Link // to the channel's policy, if that is ours
	cancel  context.CancelFunc
	leave   func() // gives back what it is fed from; idempotent
	running sync.WaitGroup

	mu            sync.Mutex // held while gRPC, or the policy, is told
	serviceConfig            // guarded by mu
	sent          *endpoints.View
}

func newChannel(cc resolver.ClientConn) *channel {
	return &channel{cc: cc, news: make(chan struct{}, 1), leave: func() {}, cancel: func() {}}
}

// begin feeds the channel from the source of a selection.
func (c *channel) begin(from *sources, reg *rollcall.Registry, sel selection, watch func() watcher) {
	ctx, cancel := context.WithCancel(context.Background())
	s := from.join(reg, sel, watch)
	s.attach(c)
	c.cancel = cancel
	c.leave = sync.OnceFunc(func() {
		s.detach(c)
		from.leave(s)
	})
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

func (c *channel) wake() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// run tells the channel what the source has to tell, until ctx ends or the source does. While gRPC processes an update,
// which it does before UpdateState returns, others go their own pace; what came meanwhile is skipped but for the newest.
func (c *channel) run(ctx context.Context, s *source) {
	for {
		select {
		case <-c.news:
		case <-ctx.Done():
			return
		}
		now := s.state()
		if c.tell(now) {
			s.listed.Store(true)
		}
		if now.ended {
			return
		}
	}
}

// tell tells the channel of a state, and reports whether its views are to be lists.
func (c *channel) tell(now state) (listed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := now.view == nil || now.view == c.sent || now.view.OlderThan(c.sent)
	if !known && !c.passLocked(now.view) {
		c.sendLocked(now.view)
		listed = !c.ours || !c.link.Joined()
	}
	if now.err != nil {
		c.cc.ReportError(now.err)
	}
	return listed
}

// pass passes a view to the channel's policy, if it takes it and nothing else is to be told, nor being told. It does not wait.
func (c *channel) pass(view *endpoints.View) bool {
	if !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	return c.passLocked(view)
}

func (c *channel) passLocked(view *endpoints.View) bool {
	if !c.ours || view.Policy != c.policy || !c.link.Pass(view) {
		return false
	}
	c.sent = view
	return true
}

// sendLocked sends a view by gRPC: its endpoints, what is to be done with them, and a link for the views after it if the policy is ours.
func (c *channel) sendLocked(view *endpoints.View) {
	c.sent = view
	config, err := c.under(c.cc, view.Policy)
	if err != nil {
		c.cc.ReportError(plain(err))
	}
	state := view.State()
	if c.ours {
		state = view.Linked(&c.link)
	}
	state.ServiceConfig = config
	// The error says that the list is empty or the config bad. Asking etcd again would change neither.
	_ = c.cc.UpdateState(state)
}
