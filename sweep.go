package rollcall

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// sweepSpread is over how long those who see an override's leftover key begin to clear it up: the first is enough, and the others see
// by then that it is gone.
const sweepSpread = 30 * time.Second

// leftover is the key of an override that ended long ago.
type leftover struct {
	key      string
	revision int64
}

// leftoversLocked returns the keys that should be gone with their leases: leases live on when etcd's leader changes, all for as long again
// as they were granted for. Nobody hurries: a clock that is some seconds ahead must not take a decision away from everybody.
func (c *control) leftoversLocked(now time.Time) []leftover {
	var all []leftover
	for service, d := range c.services {
		for id, o := range d.overrides {
			if !o.Until.IsZero() && now.Sub(o.Until) >= overrideGrace {
				all = append(all, leftover{c.settings.layout.overrideKey(service, id), o.Revision})
			}
		}
	}
	return all
}

func (c *control) leftovers(now time.Time) []leftover {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leftoversLocked(now)
}

// sweep deletes leftovers, until the registry closes. Who is not allowed to leaves them to others.
func (r *etcd) sweep() {
	for {
		select {
		case <-r.control.left:
		case <-r.ctx.Done():
			return
		}
		if !wire.Sleep(r.ctx, rand.N(sweepSpread)) {
			return
		}
		for _, l := range r.control.leftovers(time.Now()) {
			ctx, cancel := context.WithTimeout(r.ctx, operationTimeout)
			_, err := r.steer(ctx, l.key, nil, l.revision, 0)
			cancel()
			if errors.Is(err, ErrPermissionDenied) {
				return
			}
		}
	}
}
