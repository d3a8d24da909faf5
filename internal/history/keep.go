package history

import (
	"time"
)

// add keeps an event.
func (h *History) add(e record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events.add(e)
	h.forgetLocked()
	h.broadcastLocked()
}

// mark says when a revision was that is about to be told, and so until when all was that was told before.
func (h *History) mark(revision, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks.add(revision, at)
	if h.events.settled < h.events.next {
		h.events.settle(h.events.settled, at)
		h.forgetLocked()
		h.broadcastLocked()
	}
}

// read notes how far etcd was read, and all of it can be told.
func (h *History) read(revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.events.settled == h.events.next && !h.begin.Reading {
		h.revision = revision
	}
}

// reached says that everything up to a revision has been told by now, and returns whether that is so for the first time.
func (h *History) reached(revision int64, now time.Time) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first = h.begin.Reading
	if first {
		h.begin.Reading, h.took = false, now.Sub(h.started)
		h.logger.Info("history read", "events", h.events.len(), "revision", h.begin.Revision, "took", h.took)
	}
	h.revision = revision
	h.marks.add(revision, now.UnixNano())
	if first || h.events.settled < h.events.next {
		h.events.settle(h.events.settled, now.UnixNano())
		h.forgetLocked()
		h.broadcastLocked()
	}
	return first
}

// beginAt says where the history begins, anew when something was lost.
func (h *History) beginAt(revision int64, reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begin.Revision, h.begin.Time, h.revision = revision, time.Time{}, 0
	h.beganWith = h.events.next
	if reset {
		h.marks.all, h.broke = nil, h.now()
	}
}

// beganAt says when that was.
func (h *History) beganAt(revision, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begin.Revision == revision {
		h.begin.Time = timeOf(at)
	}
	h.marks.add(revision, at)
}

// forget drops what is too old.
func (h *History) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetLocked()
	h.marks.forget(h.now().Add(-h.keep).UnixNano())
}

func (h *History) forgetLocked() {
	n := h.events.excess(h.now().Add(-h.keep).UnixNano())
	if n == 0 {
		return
	}
	settled := h.events.settled
	last := h.events.drop(n)
	if h.events.first <= h.beganWith { // those were before the begin
		return
	}
	h.begin.Revision, h.begin.Time = last.revision, time.Time{}
	if h.events.first <= settled {
		h.begin.Time = timeOf(last.known())
	}
}

func (h *History) broadcastLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// incarnations returns all that the events are about, and from which revision on they are.
func (h *History) incarnations() (known map[string]bool, from int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known = map[string]bool{}
	for seq := h.events.first; seq < h.events.next; seq++ {
		known[h.events.at(seq).who.incarnation] = true
	}
	return known, h.begin.Revision
}
