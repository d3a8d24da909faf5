package grpcapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// A teller remembers the changes of this many states, unless they are more than so many updates; of one at least. Whoever missed more
// is told everything.
const ringStates, ringUpdates = 256, 4096

// Watch implements rollcall.v1.
func (d *discovery) Watch(req *rollcallv1.WatchRequest, stream grpc.ServerStreamingServer[rollcallv1.WatchResponse]) error {
	a := d.api
	if err := a.reg.Validate(req.GetService(), nil); err != nil {
		return err
	}
	if req.GetRevision() < 0 {
		return &rollcall.InvalidError{Field: "revision", Value: message.Text(req.String()), Rule: "a revision is 0 (none) or more"}
	}
	h, err := a.join(topic{name: req.GetService()}, func() teller {
		return &instances{service: req.GetService(), watcher: a.reg.Watch(req.GetService())}
	})
	if err != nil {
		return err
	}
	defer h.leave()
	w := h.newWatcher(stream.Context())
	defer w.end()
	have, err := h.resume(stream, w, req)
	if err != nil {
		return err
	}
	return h.serve(stream, w, have)
}

// resume sends a stream that was told something before what it takes to go on from there, and returns the number of the state that its
// client has then; 0 for one that begins.
func (h *hub) resume(stream grpc.ServerStream, w *watcher, req *rollcallv1.WatchRequest) (uint64, error) {
	if err := h.known(stream.Context()); err != nil || req.GetRevision() == 0 {
		return 0, err
	}
	h.catchUp(stream.Context(), req.GetRevision())
	h.mu.Lock()
	i := h.teller.(*instances)
	var f *frame
	var err error
	switch have, found := i.find(req.GetRevision(), digest(req.GetDigest())); {
	case req.GetRevision() > i.revision(): // it goes back, and has to say so
		f, err = h.wholeLocked(true)
	case found:
		f, err = h.frameLocked(h.seq - have)
	default:
		f, err = h.wholeLocked(false)
	}
	seq := h.seq
	h.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return seq, w.send(stream, f, seq)
}

// catchUp has a hub know of a revision that a client has from elsewhere: another server was faster, or counts another service's changes.
// It gives up after a while, as when etcd is out of reach.
func (h *hub) catchUp(ctx context.Context, revision int64) {
	i := h.teller.(*instances)
	h.mu.Lock()
	enough, broken := i.revision() >= revision, h.broken
	h.mu.Unlock()
	if enough {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	if h.api.reg.Reach(ctx, revision) != nil {
		return
	}
	v, err := h.api.reg.Lookup(ctx, i.service)
	if err != nil {
		return
	}
	for {
		h.mu.Lock()
		changed := h.changed
		if h.err != nil || h.broken != broken {
			h.mu.Unlock()
			return
		}
		if i.view.Revision >= v.Revision {
			i.reached = max(i.reached, revision) // the service has not changed since
			h.forget()
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// instances tells of the instances of one service.
type instances struct {
	service string
	watcher *rollcall.Watcher

	view    *rollcall.View     // the newest; nil before the first
	policy  *rollcallv1.Policy // the view's
	reached int64              // a revision up to which it is complete, if that is more than the view's own
	ring    []state            // the newest, oldest first
	held    int                // updates in ring
}

// state is one of the states of a service.
type state struct {
	revision int64
	digest   digest
	updates  []rollcall.Update // that led to it; none in the first
}

func (i *instances) next(ctx context.Context) (func() (news, broken bool), error) {
	v, err := i.watcher.Next(ctx)
	if err != nil {
		return nil, err
	}
	return func() (news, broken bool) { return true, i.apply(v) }, nil
}

func (i *instances) end() { i.watcher.Close() }

// apply makes a view the newest.
func (i *instances) apply(v *rollcall.View) (broken bool) {
	if i.view == nil || i.view.Policy != v.Policy {
		// A policy that cannot be written cannot have been read.
		i.policy, _ = message.Policy(v.Policy)
	}
	next := state{revision: v.Revision}
	broken = i.view == nil || v.Reset
	if broken {
		i.ring, i.held, i.reached = nil, 0, 0
		next.digest = digestOf(v.Instances)
	} else {
		next.updates, next.digest = v.Updates, i.ring[len(i.ring)-1].digest.after(v.Updates)
	}
	i.view = v
	i.ring = append(i.ring, next)
	i.held += len(next.updates)
	for len(i.ring) > ringStates || i.held > ringUpdates && len(i.ring) > 1 {
		i.held -= len(i.ring[0].updates)
		i.ring[0] = state{}
		i.ring = i.ring[1:]
	}
	return broken
}

// revision returns the one that the newest state is complete up to.
func (i *instances) revision() int64 { return max(i.view.Revision, i.reached) }

// find returns how many states ago a client was told of the newest that it knows. With a digest that is certain. Without, its revision is
// all there is to go by: several states may have it, and it has the first of them; and it is worth nothing if we have not seen ourselves
// what led to it.
func (i *instances) find(revision int64, d digest) (ago uint64, found bool) {
	at := -1
	for n, s := range slices.Backward(i.ring) {
		if d != 0 {
			if s.digest == d {
				return uint64(len(i.ring) - 1 - n), true
			}
			continue
		}
		if at >= 0 && s.revision != i.ring[at].revision {
			break
		}
		if s.revision <= revision {
			at = n
		}
	}
	if at <= 0 { // what led to the oldest we do not know, nor whether it is the first of its revision
		return 0, false
	}
	return uint64(len(i.ring) - 1 - at), true
}

func (i *instances) message() *rollcallv1.WatchResponse {
	return &rollcallv1.WatchResponse{
		Revision: i.revision(), Policy: i.policy, Stale: message.Staleness(i.view.StaleSince, i.view.StaleErr),
		Digest: uint64(i.ring[len(i.ring)-1].digest),
	}
}

func (i *instances) snapshot(reset bool) proto.Message {
	m := i.message()
	m.Snapshot, m.Reset_ = true, reset
	m.Updates = make([]*rollcallv1.Update, 0, len(i.view.Instances))
	for _, one := range i.view.Instances {
		m.Updates = append(m.Updates, message.Update(rollcall.Update{Op: rollcall.Add, Instance: one}))
	}
	return m
}

func (i *instances) since(states uint64) proto.Message {
	if states >= uint64(len(i.ring)) {
		return nil
	}
	m := i.message()
	for _, u := range merged(i.ring[len(i.ring)-int(states):]) {
		m.Updates = append(m.Updates, message.Update(u))
	}
	return m
}

// merged returns what several states changed, one update for each instance, sorted by id. One that came and went is told of as gone: a
// client that resumes may have seen it come.
func merged(states []state) []rollcall.Update {
	if len(states) == 1 {
		return states[0].updates
	}
	all := map[string]rollcall.Update{}
	for _, s := range states {
		for _, u := range s.updates {
			if before, was := all[u.Instance.ID]; was {
				u.Prev = before.Prev
				if u.Op == rollcall.Add && u.Prev != nil {
					u.Op = rollcall.Modify
				} else if u.Op == rollcall.Modify && u.Prev == nil {
					u.Op = rollcall.Add
				}
			}
			all[u.Instance.ID] = u
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b rollcall.Update) int { return strings.Compare(a.Instance.ID, b.Instance.ID) })
}
