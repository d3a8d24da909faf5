package simetcd

import (
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// watcher is one watch: what it wants and how far it is.
type watcher struct {
	id       int64
	key, end string
	start    int64 // the revision it was asked to start from; 0: whatever comes next
	next     int64 // the first revision it has not seen
	synced   bool  // it is told of every revision at once; otherwise every 100 ms, until it has caught up

	prevKV, fragment bool
	filters          []pb.WatchCreateRequest_FilterType

	notify bool // it wants to be told of progress
	idle   bool // it was told nothing since the last time
}

// newWatcher returns a watch on a member that has applied the log up to a revision. One that starts later than that
// is silent until then.
func newWatcher(id int64, r *pb.WatchCreateRequest, applied int64) *watcher {
	w := &watcher{
		id: id, key: string(r.Key), end: string(r.RangeEnd), start: r.StartRevision, next: r.StartRevision,
		synced: r.StartRevision == 0 || r.StartRevision > applied,
		prevKV: r.PrevKv, fragment: r.Fragment, filters: r.Filters, notify: r.ProgressNotify, idle: true,
	}
	if r.StartRevision == 0 {
		w.next = applied + 1
	}
	return w
}

func (w *watcher) wants(event *mvccpb.Event) bool {
	filter := pb.WatchCreateRequest_NOPUT
	if event.Type == mvccpb.Event_DELETE {
		filter = pb.WatchCreateRequest_NODELETE
	}
	return within(string(event.Kv.Key), w.key, w.end) && !slices.Contains(w.filters, filter)
}

// events returns the responses that tell of some revisions: none when nothing in them is wanted, several when the watch
// allows that and one would be too large.
func (w *watcher) events(c *Cluster, m *Member, revisions []Revision, at int64) []*pb.WatchResponse {
	events := w.eventsOf(c, m, revisions)
	if len(events) == 0 {
		return nil
	}
	w.idle = false
	var responses []*pb.WatchResponse
	for len(events) > 0 {
		n := len(events)
		if w.fragment {
			n = fitting(events)
		}
		responses = append(responses, &pb.WatchResponse{
			Header: c.header(m, at), WatchId: w.id, Events: events[:n], Fragment: n < len(events),
		})
		events = events[n:]
	}
	return responses
}

// fitting returns how many events fit into one fragment, at least one.
func fitting(events []*mvccpb.Event) int {
	const overhead = 48 // of an event beside its keys and values, about
	size := 0
	for i, event := range events {
		size += len(event.Kv.Key) + len(event.Kv.Value) + overhead
		if event.PrevKv != nil {
			size += len(event.PrevKv.Key) + len(event.PrevKv.Value) + overhead
		}
		if size >= maxFragment && i > 0 {
			return i
		}
	}
	return len(events)
}
