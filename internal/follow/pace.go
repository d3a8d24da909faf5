package follow

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// pace is what the lists of all followers of a source share while etcd does not answer: without it each of them would dial
// anew on a schedule of its own. Until every member was tried there is no pause.
type pace struct {
	mu    sync.Mutex
	fails int        // connections in a row on which a list failed
	last  *wire.Conn // the newest of them
	until time.Time  // nobody lists before
}

// wait waits for the next try and reports whether ctx lived through it.
func (p *pace) wait(ctx context.Context) bool {
	for {
		p.mu.Lock()
		pause := time.Until(p.until)
		p.mu.Unlock()
		if pause <= 0 {
			return true
		}
		if !wire.Sleep(ctx, pause) { // somebody else may have tried meanwhile, and failed
			return false
		}
	}
}

func (p *pace) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails, p.last, p.until = 0, nil, time.Time{}
}

// failed is told that a list failed on a connection, one of so many that there are to try.
func (p *pace) failed(conn *wire.Conn, members int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == conn {
		return // others were on it too
	}
	p.last = conn
	if p.fails++; p.fails >= members {
		p.until = time.Now().Add(wire.Backoff(p.fails - members))
	}
}
