package judge

import (
	"context"
	"errors"
	"fmt"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// member watches one member of etcd.
type member struct {
	r        *Recorder
	endpoint string
	cursor   int64 // up to which revision it has told everything, or others have in its place
	bare     bool  // whether the next watch cannot ask for the cursor's revision once more
	checked  bool  // whether the watch has shown that its store is the one recorded
}

// doubt is why a member's watch has stopped. It may yet turn out that the store is another one: that [Recorder.Rewritten]
// will be called.
type doubt struct {
	compacted int64 // up to which its history is gone, though nobody has told it
	err       error // or how it contradicts what has been told
}

// follow watches until ctx ends, whatever happens to the member meanwhile.
func (m *member) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if m.watch(ctx) {
			continue
		}
		wait(ctx, pause)
	}
}

// watch watches once, until that comes to an end. It tells whether to watch again at once.
func (m *member) watch(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := m.r.dial(ctx, m.endpoint)
	if err != nil {
		return false
	}
	defer func() { _ = client.Close() }()
	stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil || stream.Send(m.create()) != nil {
		return false
	}
	var events []*mvccpb.Event
	for {
		resp, err := stream.Recv()
		if err != nil {
			return false
		}
		if resp.CompactRevision > 0 {
			return m.compacted(ctx, client, resp.CompactRevision)
		}
		if resp.Canceled {
			return false
		}
		if events = append(events, resp.Events...); resp.Fragment {
			continue
		}
		if err := m.tell(events); err != nil {
			m.doubt(ctx, &doubt{err: err})
			return true
		}
		events = events[:0]
	}
}

// create asks for the whole store. It asks for the last revision it knows once more, and so finds out whether the store
// is another one by now: of which etcd says nothing.
func (m *member) create() *pb.WatchRequest {
	start := m.cursor
	m.r.mu.Lock()
	m.checked = m.bare || !m.r.history.tells(start)
	m.r.mu.Unlock()
	if m.bare = false; m.checked {
		start++
	}
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: start, PrevKv: true, Fragment: true,
	}}}
}

// tell tells what of the events nobody has told yet, and fails without telling anything if they contradict what has been
// told. The events are those of whole revisions.
func (m *member) tell(events []*mvccpb.Event) error {
	if len(events) == 0 {
		return nil
	}
	r := m.r
	r.mu.Lock()
	defer r.mu.Unlock()
	from := m.cursor
	if !m.checked {
		from--
	}
	fresh, err := r.history.merge(from, events)
	if err != nil {
		return fmt.Errorf("%s: %w", m.endpoint, err)
	}
	m.checked, m.cursor = true, events[len(events)-1].Kv.ModRevision
	for _, e := range fresh {
		r.tellEvent(e)
	}
	if len(fresh) > 0 {
		r.broadcast()
	}
	return nil
}

// doubt waits until it has been told what became of a doubt: until then the member tells nothing.
func (m *member) doubt(ctx context.Context, d *doubt) {
	r := m.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubts[m] = d
	r.broadcast()
	for r.doubts[m] == d {
		if d.err == nil && r.history.head >= d.compacted {
			delete(r.doubts, m) // others have told it
			break
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		r.mu.Lock()
		if ctx.Err() != nil {
			return // what it was is told by Close, or not at all
		}
	}
	m.cursor = r.history.head
}

var errCompacted = errors.New("etcd has compacted what no member had told yet")
