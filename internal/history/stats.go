package history

import "time"

// Stats is how much a history holds.
type Stats struct {
	Events   int           // held now
	Total    int64         // since Run began, those forgotten included
	Marks    int           // revisions whose time is known
	Began    Begin         // where it begins
	Took     time.Duration // to read the past; 0: it is being read
	Revision int64         // up to which etcd has been read
}

// Stats returns how much the history holds.
func (h *History) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{
		Events: h.events.len(), Total: h.events.next - h.events.began, Marks: len(h.marks.all),
		Began: h.begin, Took: h.took, Revision: h.revision,
	}
}
