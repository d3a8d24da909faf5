package lease

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Hold is the wish that a key be in etcd. It ends once: by Release, by Close of the keeper, or because the key became
// another's.
type Hold struct {
	k           *Keeper
	e           *entry
	incarnation string
	resumes     bool // see Spec.Resume

	done chan struct{}

	// Guarded by k.mu.
	err    error   // why it ended; set before done is closed
	former *former // whose key this is to be, until etcd has confirmed the first write; nil: nobody's
}

// former is the hold of a key before the one that tries to take it over, with what it wants there.
type former struct {
	hold            *Hold
	ttl             int64
	value, farewell []byte
}

// overtaker returns what is kept for a hold that another one tries to take the key over from.
func (h *Hold) overtaker() (*Hold, *former) {
	if now := h.e.hold; now != nil && now.former != nil && now.former.hold == h {
		return now, now.former
	}
	return nil, nil
}

// Want changes the value, to be written as soon as etcd answers. It returns why the hold ended, if it has.
func (h *Hold) Want(value, farewell []byte) error {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	if _, f := h.overtaker(); f != nil {
		f.value, f.farewell = value, farewell
		return nil
	}
	h.e.want(value, farewell)
	h.e.refusal = nil
	h.k.dirtyLocked(h.e)
	return nil
}

// Release says goodbye and deletes the key, and returns when etcd has confirmed it. When ctx ends before, the key stays
// unwanted and is deleted as soon as etcd answers; a further Release waits for that. A key that became another's is
// left alone, and that is no error.
func (h *Hold) Release(ctx context.Context) error {
	h.k.mu.Lock()
	if now, f := h.overtaker(); f != nil {
		now.former = nil // the other one shall have the key, or nobody
		h.endLocked(ErrReleased)
	} else if h.e.hold == h {
		h.k.unwantLocked(h.e, ErrReleased)
	}
	h.k.mu.Unlock()
	return h.awaitGone(ctx)
}

// Drop is Release without the goodbye: the key goes as if its lease had ended.
func (h *Hold) Drop(ctx context.Context) error {
	h.k.mu.Lock()
	if h.e.hold == h {
		h.e.farewell = nil
	}
	h.k.mu.Unlock()
	return h.Release(ctx)
}

// Detach ends the hold and leaves the key where it is, for somebody who resumes it: until its lease runs out, which is no longer renewed
// when nothing else is kept on it, and not revoked either.
func (h *Hold) Detach() {
	k := h.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if now, f := h.overtaker(); f != nil {
		now.former = nil
		h.endLocked(ErrDetached)
		return
	}
	if h.e.hold != h {
		return
	}
	h.e.detached = true
	for _, l := range k.leases {
		if l.books[h.e.key] == h.e {
			l.detached = true
		}
	}
	k.unwantLocked(h.e, ErrDetached)
}

// Done is closed when the hold has ended; Err then says why.
func (h *Hold) Done() <-chan struct{} { return h.done }

// Err returns nil while the hold lasts.
func (h *Hold) Err() error {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	return h.err
}

// Revision returns etcd's revision of the hold's own last confirmed write.
func (h *Hold) Revision() int64 {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	if h.e.hold != h {
		return 0
	}
	return h.e.wrote
}

// Missing returns since when etcd does not have the key under a lease that lives, as far as is known, and what the last try met; zero
// while it has. A lease without a confirmed heartbeat for its TTL counts as dead since the last.
func (h *Hold) Missing() (since time.Time, last error) {
	k := h.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.err != nil || h.e.hold != h {
		return time.Time{}, nil
	}
	since = h.e.missing
	if l := k.leaseOf(h.e.now.lease); l != nil && since.IsZero() {
		last := l.beaten
		if l.granted.After(last) {
			last = l.granted
		}
		if time.Since(last) > time.Duration(l.ttl)*time.Second {
			since = last
		}
	}
	if since.IsZero() {
		return since, nil
	}
	return since, cmp.Or(h.e.refusal, k.reach.last)
}

func (h *Hold) endLocked(why error) {
	h.err = why
	close(h.done)
	h.e.signal()
}

func (h *Hold) endFormerLocked(why error) {
	if f := h.former; f != nil {
		h.former = nil
		f.hold.endLocked(why)
	}
}

// Await returns when the value that is wanted now is in etcd under a living lease. When ctx ends before, or etcd refuses,
// it is wanted still.
func (h *Hold) Await(ctx context.Context) error {
	h.k.mu.Lock()
	version := h.e.version // a later one will do as well
	h.k.mu.Unlock()
	return h.until(ctx, func() (bool, error) {
		switch {
		case h.err != nil:
			return true, h.err
		case h.e.hold != h:
			return false, nil // another one tries to take the key over: that ends this hold, or gives the key back
		case h.e.written >= version && h.e.settled(h.k):
			return true, nil
		}
		return h.e.refusal != nil, h.e.refusal
	})
}

// awaitGone waits until the key is not ours any more, or etcd refuses to delete it.
func (h *Hold) awaitGone(ctx context.Context) error {
	return h.until(ctx, func() (bool, error) {
		// A later hold of the same key has taken it over, or the books are closed on it: there is nothing to wait for.
		moot := h.e.hold != nil || h.k.entries[h.e.key] != h.e
		if moot || h.e.settled(h.k) {
			return true, nil
		}
		return h.e.refusal != nil, h.e.refusal
	})
}

// until waits for a condition, which is evaluated under the keeper's lock whenever the entry got on.
func (h *Hold) until(ctx context.Context, cond func() (bool, error)) error {
	for {
		h.k.mu.Lock()
		ok, err := cond()
		progress := h.e.progress
		h.k.mu.Unlock()
		if ok {
			return err
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrPending, context.Cause(ctx))
		case <-h.k.ctx.Done():
			return ErrClosed
		}
	}
}
