package history

// Query selects events to list.
type Query struct {
	Filter

	Before int64 // only older ones than the event of this sequence; 0: all
	Limit  int   // at most so many; 0: all
}

// List returns what happened, the newest first, and next, to ask for older ones with as Before: 0 when there are none. A next stays good
// while newer events come and old ones are forgotten.
func (h *History) List(q Query) (events []Event, next int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events.list(q)
}
