package rollcall

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	relaySize  = 1024        // records that may wait for a handler
	relayFlush = time.Second // what a handler gets at the end for those that do
)

// relay hands log records to a handler on a goroutine of its own. The registry logs while it holds its locks: a handler
// that blocks, as on a pipe that nobody reads, would hold up heartbeats. Beyond relaySize records are dropped and counted.
type relay struct {
	queue   chan func()
	dropped atomic.Int64
	start   sync.Once
	stop    chan struct{} // closed by close
	done    chan struct{} // closed when the goroutine has ended
}

func newRelay() *relay {
	return &relay{queue: make(chan func(), relaySize), stop: make(chan struct{}), done: make(chan struct{})}
}

// run hands over records until close, and then those that still wait.
func (r *relay) run() {
	defer close(r.done)
	for {
		select {
		case hand := <-r.queue:
			hand()
			continue
		case <-r.stop:
		}
		for len(r.queue) > 0 {
			(<-r.queue)()
		}
		return
	}
}

// close returns when every record was handed over, at the latest after relayFlush: a handler that still blocks then keeps
// its goroutine. No record is taken any more.
func (r *relay) close() {
	r.start.Do(func() { close(r.done) }) // nothing was ever logged
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	timeout := time.NewTimer(relayFlush)
	defer timeout.Stop()
	select {
	case <-r.done:
	case <-timeout.C:
	}
}

// relayed is a handler behind a relay.
type relayed struct {
	relay *relay
	to    slog.Handler
}

func (h relayed) Enabled(ctx context.Context, level slog.Level) bool { return h.to.Enabled(ctx, level) }

func (h relayed) Handle(ctx context.Context, record slog.Record) error {
	r := h.relay
	r.start.Do(func() { go r.run() })
	record = record.Clone()
	ctx = context.WithoutCancel(ctx)
	select {
	case r.queue <- func() { h.hand(ctx, record) }:
	default:
		r.dropped.Add(1)
	}
	return nil
}

func (h relayed) hand(ctx context.Context, record slog.Record) {
	if n := h.relay.dropped.Swap(0); n > 0 {
		lost := slog.NewRecord(time.Now(), slog.LevelWarn, "log handler too slow, records dropped", 0)
		lost.AddAttrs(slog.Int64("dropped", n))
		_ = h.to.Handle(ctx, lost)
	}
	_ = h.to.Handle(ctx, record)
}

func (h relayed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return relayed{h.relay, h.to.WithAttrs(attrs)}
}

func (h relayed) WithGroup(name string) slog.Handler { return relayed{h.relay, h.to.WithGroup(name)} }
