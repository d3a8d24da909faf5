package resolver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// patience is how long a channel waits for its first view before its calls are told that there is none.
const patience = 2 * time.Second

var errPatience = fmt.Errorf("no view within %v", patience)

// channel feeds one gRPC channel: it is gRPC's resolver for it.
type channel struct {
	// Set before the goroutine starts.
	cc            resolver.ClientConn
	serviceConfig *serviceconfig.ParseResult // nil: none is sent
	cancel        context.CancelFunc

	// Touched by the goroutine only.
	next      func(context.Context) (*rollcall.View, error) // blocks for the newest view, skipping those in between
	endpoints endpoints                                     // what the channel was sent last
	sent      bool                                          // whether it was sent anything

	running sync.WaitGroup
}

// Close ends the channel's watch and waits for its goroutine: afterwards gRPC hears nothing more from it.
func (c *channel) Close() {
	c.cancel()
	c.running.Wait()
}

// ResolveNow does nothing: gRPC hints that a connection was lost, but the watch brings news by itself, and whether the
// watch is alive is the registry's business, at its own pace.
func (c *channel) ResolveNow(resolver.ResolveNowOptions) {}

// run passes views on until ctx ends or the registry has no more. An update is processed by gRPC before UpdateState
// returns, at a cost that grows with the instances: hence the pauses, during which Next gathers what comes.
func (c *channel) run(ctx context.Context) {
	view, err := c.first(ctx)
	for err == nil {
		if c.send(view) {
			pause(ctx, window(len(view.Instances)))
		}
		view, err = c.next(ctx)
	}
	if ctx.Err() == nil {
		c.cc.ReportError(plain(err))
	}
}

// first waits for the first view, and tells the channel if that takes long: its calls then fail, saying why, instead of
// hanging. Those that wait for ready still do.
func (c *channel) first(ctx context.Context) (*rollcall.View, error) {
	soon, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	view, err := c.next(soon)
	if err == nil || soon.Err() == nil || ctx.Err() != nil {
		return view, err
	}
	c.cc.ReportError(plain(err)) // names etcd's endpoints and what the last try met
	return c.next(ctx)
}

// send passes a view on, and reports whether there was anything in it that the channel had not seen.
func (c *channel) send(view *rollcall.View) bool {
	if !c.endpoints.replace(view) && c.sent {
		return false
	}
	c.sent = true
	// The error says that the list is empty or the config bad. Asking etcd again would change neither.
	_ = c.cc.UpdateState(resolver.State{Endpoints: c.endpoints.list, ServiceConfig: c.serviceConfig})
	return true
}

// window is how long changes are gathered after an update to a channel of n instances. It grows as the update's cost.
func window(n int) time.Duration {
	return min(5*time.Millisecond+time.Duration(n)*10*time.Microsecond, 100*time.Millisecond)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// plain makes an error fit for ReportError: of an error that wraps a gRPC status, as etcd's do, gRPC would make the
// status of the call, and fail even calls that wait for ready.
func plain(err error) error { return errors.New("rollcall: " + err.Error()) }
