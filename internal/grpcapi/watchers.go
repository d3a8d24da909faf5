package grpcapi

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// Under these keys of its metadata a call in this process tells whom it is made for. Those of a call from the network count for nothing.
const (
	ForAddress = "rollcall-for-address"
	ForAgent   = "rollcall-for-agent"
)

// maxWord bounds what a client says of itself.
const maxWord = 256

// watcher is a stream that a hub tells.
type watcher struct {
	hub                    *hub
	author, address, agent string
	since                  time.Time

	seq, revision atomic.Int64 // of the newest state that it was told of; 0: of none
}

// newWatcher notes a stream.
func (h *hub) newWatcher(ctx context.Context) *watcher {
	w := &watcher{hub: h, author: h.api.author(ctx), since: time.Now()}
	w.address, w.agent = callerOf(ctx)
	h.api.mu.Lock()
	defer h.api.mu.Unlock()
	h.api.watchers[w] = struct{}{}
	return w
}

func (w *watcher) end() {
	a := w.hub.api
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.watchers, w)
}

// send tells the stream what leads to a state.
func (w *watcher) send(stream grpc.ServerStream, f *frame, seq uint64) error {
	if err := stream.SendMsg(f); err != nil {
		return err
	}
	w.seq.Store(int64(seq))
	w.revision.Store(f.revision)
	return nil
}

// callerOf returns where a call is from, and the program that makes it.
func callerOf(ctx context.Context) (address, agent string) {
	md, _ := metadata.FromIncomingContext(ctx)
	first := func(key string) string {
		word := cmp.Or(append(md.Get(key), "")...)
		return message.Text(word[:min(len(word), maxWord)])
	}
	p, known := peer.FromContext(ctx)
	switch {
	case !known:
		return "", first("user-agent")
	case p.Addr.Network() == "bufconn":
		return first(ForAddress), first(ForAgent)
	}
	return p.Addr.String(), first("user-agent")
}

// tells reports whether the hub tells of a service.
func (t topic) tells(service string) bool {
	if t.all {
		return strings.HasPrefix(service, t.name)
	}
	return t.name == service
}

func (w *watcher) message() *rollcallv1.Watcher {
	h := w.hub
	h.mu.Lock()
	current := uint64(w.seq.Load()) == h.seq
	h.mu.Unlock()
	m := &rollcallv1.Watcher{
		Author: message.Text(w.author), Address: w.address, Agent: w.agent,
		Since: message.Moment(w.since), Revision: w.revision.Load(), Current: current,
	}
	if h.topic.all {
		m.Everything, m.Prefix = true, h.topic.name
	} else {
		m.Service = h.topic.name
	}
	return m
}

// ListWatchers implements rollcall.v1.
func (o *operations) ListWatchers(_ context.Context, req *rollcallv1.ListWatchersRequest) (*rollcallv1.ListWatchersResponse, error) {
	o.api.mu.Lock()
	var found []*watcher
	for w := range o.api.watchers {
		if req.GetService() == "" || w.hub.topic.tells(req.GetService()) {
			found = append(found, w)
		}
	}
	o.api.mu.Unlock()
	slices.SortFunc(found, func(a, b *watcher) int {
		return cmp.Or(strings.Compare(a.hub.topic.name, b.hub.topic.name), a.since.Compare(b.since))
	})
	resp := &rollcallv1.ListWatchersResponse{}
	for _, w := range found {
		resp.Watchers = append(resp.Watchers, w.message())
	}
	return resp, nil
}

// revisionOf returns up to which revision a message tells.
func revisionOf(m proto.Message) int64 {
	if told, does := m.(interface{ GetRevision() int64 }); does {
		return told.GetRevision()
	}
	return 0
}
