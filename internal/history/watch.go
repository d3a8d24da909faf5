package history

import (
	"context"
	"time"
)

const perTell = 100

// Start says where a stream of events begins.
type Start struct {
	Filter

	// After is the sequence of the last event that the reader has. 0: what happens from now on, or from Filter.Since on, if that is set.
	// One that this history cannot have given, as before the server's restart, is as 0, with a gap.
	After int64
}

// Watch calls tell with what happens, the oldest first, one call at a time: at once, be it with no events, and then whenever there are some,
// at most 100 at a time. While the past is being read "now" is what comes after it. It ends, with nil, when tell returns false or
// Filter.Until has passed and everything before it was told; else with ctx's error.
//
// A reader that is slow costs nothing. What is forgotten before it could be told is missing, and the next call says so by gap.
func (h *History) Watch(ctx context.Context, from Start, tell func(events []Event, gap bool) bool) error {
	c := &cursor{h: h, from: from}
	c.start()
	for told := false; ; told = true {
		events, gap, wait, over := c.read()
		if (!told || len(events) > 0 || gap) && !tell(events, gap) {
			return nil
		}
		if wait == nil {
			continue
		}
		if over {
			return nil
		}
		if err := h.await(ctx, wait, from.Until); err != nil {
			return err
		}
	}
}

// await waits for news, or for the end of what is asked for.
func (h *History) await(ctx context.Context, news <-chan struct{}, until time.Time) error {
	var end <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(until.Sub(h.now()))
		defer t.Stop()
		end = t.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-news:
	case <-end:
	}
	return nil
}

// cursor is how far a stream has come.
type cursor struct {
	h    *History
	from Start
	next int64 // the sequence to be told next
	gap  bool
	wait bool // for the past to have been read: what is in it is not asked for
}

func (c *cursor) start() {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	after := c.from.After
	if after != 0 && (after < h.events.began-1 || after >= h.events.next) {
		c.gap, after = true, 0
	}
	switch {
	case after != 0:
		c.next = after + 1
	case !c.from.Since.IsZero():
		c.next = h.events.first
	default:
		c.next, c.wait = h.events.settled, h.begin.Reading
	}
}

// read returns what is to be told next. When that is all there is it returns a channel that is closed when there may be more, and whether
// nothing more is asked for.
func (c *cursor) read() (events []Event, gap bool, wait <-chan struct{}, over bool) {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &h.events
	if c.wait {
		c.next = r.settled
		c.wait = h.begin.Reading
	}
	if c.next < r.first {
		c.next, c.gap = r.first, true
	}
	for ; c.next < r.settled && len(events) < perTell; c.next++ {
		if e := r.at(c.next); c.from.on(e) && c.from.in(e) {
			events = append(events, r.event(c.next))
		}
	}
	gap, c.gap = c.gap, false
	if c.next < r.settled {
		return events, gap, nil, false
	}
	return events, gap, h.changed, !c.from.Until.IsZero() && !h.now().Before(c.from.Until) && r.settled == r.next && !h.begin.Reading
}
