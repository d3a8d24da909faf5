package simetcd

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// resync is how often etcd looks after watches that want events of the past.
const resync = 100 * time.Millisecond

// watchServer answers watches.
type watchServer struct {
	pb.UnimplementedWatchServer
	m *Member
}

// watchStream is one client's stream of any number of watches. Only the handler's goroutine touches it.
type watchStream struct {
	m        *Member
	stream   pb.Watch_WatchServer
	watchers map[int64]*watcher
	nextID   int64
}

// Watch serves a stream. It reads the log like everybody else: a watch is a place in it.
func (s *watchServer) Watch(stream pb.Watch_WatchServer) error {
	c := s.m.cluster
	ws := &watchStream{m: s.m, stream: stream, watchers: map[int64]*watcher{}}
	ctx, requests := stream.Context(), receive(c, stream)
	progress := time.NewTicker(c.options.ProgressInterval)
	defer progress.Stop()
	var resyncs <-chan time.Time // nil while no watch is behind
	for {
		changed, err := ws.deliver()
		if err != nil {
			return err
		}
		if resyncs == nil && ws.unsynced() {
			resyncs = time.After(resync)
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return rpctypes.ErrGRPCWatchCanceled
			}
			return context.Cause(ctx)
		case r := <-requests:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return r.err
			}
			err = ws.handle(r.request)
		case <-resyncs:
			resyncs, err = nil, ws.resync()
		case <-progress.C:
			err = ws.reportProgress()
		case <-changed:
		}
		if err != nil {
			return err
		}
	}
}

func (ws *watchStream) handle(r *pb.WatchRequest) error {
	switch {
	case r.GetCreateRequest() != nil:
		return ws.stream.Send(ws.create(r.GetCreateRequest()))
	case r.GetCancelRequest() != nil:
		id := r.GetCancelRequest().WatchId
		if ws.watchers[id] == nil {
			return nil
		}
		delete(ws.watchers, id)
		return ws.stream.Send(&pb.WatchResponse{Header: ws.header(), WatchId: id, Canceled: true})
	case r.GetProgressRequest() != nil:
		return ws.progress(clientv3.InvalidWatchID, ws.sorted())
	}
	return nil
}

// header returns a header with the revision that the member has applied.
func (ws *watchStream) header() *pb.ResponseHeader {
	ws.m.cluster.mu.Lock()
	defer ws.m.cluster.mu.Unlock()
	applied, _ := ws.m.applied()
	return ws.m.cluster.header(ws.m, applied)
}

// create makes a watch and returns the answer to its creation. A refusal is an answer too: the stream goes on.
func (ws *watchStream) create(r *pb.WatchCreateRequest) *pb.WatchResponse {
	c := ws.m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	applied, _ := ws.m.applied()
	resp := &pb.WatchResponse{Header: c.header(ws.m, applied), Created: true}
	if len(r.Key) == 0 {
		r.Key = []byte{0}
	}
	if reason := ws.refusal(r); reason != "" {
		resp.WatchId, resp.Canceled, resp.CancelReason = clientv3.InvalidWatchID, true, reason
		return resp
	}
	id := r.WatchId
	if id == clientv3.AutoWatchID {
		for ws.watchers[ws.nextID] != nil {
			ws.nextID++
		}
		id = ws.nextID
		ws.nextID++
	}
	ws.watchers[id] = newWatcher(id, r, applied)
	resp.WatchId = id
	return resp
}

func (ws *watchStream) refusal(r *pb.WatchCreateRequest) string {
	if r.StartRevision < 0 {
		return rpctypes.ErrCompacted.Error()
	}
	who, err := ws.m.identify(ws.stream.Context()) // the token that the stream was opened with, however old
	if err == nil {
		err = ws.m.cluster.store.auth.mayRead(who, r.Key, r.RangeEnd)
	}
	switch {
	case err != nil:
		return err.Error()
	case len(r.RangeEnd) > 0 && string(r.RangeEnd) != "\x00" && string(r.Key) >= string(r.RangeEnd):
		return "mvcc: watcher range is empty"
	case r.WatchId != clientv3.AutoWatchID && ws.watchers[r.WatchId] != nil:
		return "mvcc: duplicate watch ID provided on the WatchStream"
	}
	return ""
}

func (ws *watchStream) sorted() []*watcher {
	watchers := make([]*watcher, 0, len(ws.watchers))
	for _, w := range ws.watchers {
		watchers = append(watchers, w)
	}
	slices.SortFunc(watchers, func(a, b *watcher) int { return int(a.id - b.id) })
	return watchers
}

func (ws *watchStream) unsynced() bool {
	for _, w := range ws.watchers {
		if !w.synced {
			return true
		}
	}
	return false
}

// deliver sends what was committed since to the watches that are up to date, revision by revision, and returns what is
// closed when there may be more.
func (ws *watchStream) deliver() (changed <-chan struct{}, err error) {
	c := ws.m.cluster
	watchers := ws.sorted()
	c.mu.Lock()
	changed = c.changed
	applied, _ := ws.m.applied()
	first := applied + 1
	for _, w := range watchers {
		if w.synced {
			first = min(first, w.next)
		}
	}
	var responses []*pb.WatchResponse
	for _, revision := range c.store.since(first, applied) {
		for _, w := range watchers {
			if w.synced && w.next <= revision.Revision {
				responses = append(responses, w.events(c, ws.m, []Revision{revision}, revision.Revision)...)
				w.next = revision.Revision + 1
			}
		}
	}
	c.mu.Unlock()
	return changed, ws.send(responses)
}

// resync sends the watches of the past what they missed, in one response of at most a thousand revisions, and ends
// those that want what was compacted.
func (ws *watchStream) resync() error {
	const most = 1000
	c := ws.m.cluster
	var responses []*pb.WatchResponse
	c.mu.Lock()
	applied, compacted := ws.m.applied()
	for _, w := range ws.sorted() {
		switch {
		case w.synced:
			continue
		case w.next < compacted:
			responses = append(responses, &pb.WatchResponse{
				Header: c.header(ws.m, 0), WatchId: w.id, Canceled: true, CompactRevision: compacted,
			})
			delete(ws.watchers, w.id)
			continue
		}
		missed := c.store.since(w.next, applied)
		w.next, w.synced = applied+1, true
		if len(missed) > most {
			w.next, w.synced = missed[most].Revision, false
			missed = missed[:most]
		}
		responses = append(responses, w.events(c, ws.m, missed, applied)...)
	}
	c.mu.Unlock()
	return ws.send(responses)
}

func (ws *watchStream) send(responses []*pb.WatchResponse) error {
	for _, r := range responses {
		if err := ws.stream.Send(r); err != nil {
			return err
		}
	}
	return nil
}

// reportProgress tells the watches that asked for it, and were told nothing in the last interval, how far they are.
func (ws *watchStream) reportProgress() error {
	for _, w := range ws.sorted() {
		if w.notify && w.idle {
			if err := ws.progress(w.id, []*watcher{w}); err != nil {
				return err
			}
		}
		w.idle = true
	}
	return nil
}

// progress tells the client that the given watches have seen everything: nothing when one has not, or waits for a
// revision that is still to come.
func (ws *watchStream) progress(id int64, watchers []*watcher) error {
	header := ws.header()
	for _, w := range watchers {
		if !w.synced || w.next <= header.Revision || w.start > header.Revision {
			return nil
		}
	}
	if len(watchers) == 0 {
		return nil
	}
	return ws.stream.Send(&pb.WatchResponse{Header: header, WatchId: id})
}

// eventsOf returns the watched events of some revisions.
func (w *watcher) eventsOf(c *Cluster, m *Member, revisions []Revision) []*mvccpb.Event {
	_, compacted := m.applied()
	var events []*mvccpb.Event
	for _, revision := range revisions {
		for _, event := range revision.Events {
			if !w.wants(event) {
				continue
			}
			// As in etcd, what a revision replaced is not known when it was compacted.
			if before := event.Kv.ModRevision - 1; w.prevKV && before >= compacted {
				event = &mvccpb.Event{Type: event.Type, Kv: event.Kv, PrevKv: c.store.get(string(event.Kv.Key), before)}
			}
			events = append(events, event)
		}
	}
	return events
}
