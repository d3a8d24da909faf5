package grpcapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// teller knows what a hub's streams are to be told. Its methods but next are called with the hub's mu held, one at a time.
type teller interface {
	// next waits for the next state; apply, which makes it the newest, reports whether there is anything to tell, and whether no stream
	// can go on from a state before it.
	next(ctx context.Context) (apply func() (news, broken bool), err error)
	// snapshot returns the newest state as a whole.
	snapshot(reset bool) proto.Message
	// since returns what the newest states, so many of them, changed; nil when it does not know any more.
	since(states uint64) proto.Message
	// end gives back what it holds. It is called without mu, after the last next.
	end()
}

// hub tells any number of streams of one topic. What it tells is encoded once, whoever is told: a stream holds nothing but the number of
// the state that its client has, and there are few different numbers. One that is slow is told of several states at once.
type hub struct {
	api    *API
	topic  topic
	teller teller
	cancel context.CancelFunc
	idle   *time.Timer // guarded by the API's mu, as users; runs while there are none
	users  int

	mu      sync.Mutex
	seq     uint64            // counts states; 0: none is known yet
	broken  uint64            // no stream can go on from a state before this one
	changed chan struct{}     // closed and replaced with each new state
	frames  map[uint64]*frame // what a stream is told that has the state of this number
	whole   [2]*frame         // what one is told that has none, and what one that has a state before the break
	err     error             // why it ended; nil while it goes on
}

var (
	errStopping = errors.New("the server is stopping: go on at another one, or at this one when it is back")
	errSilent   = errors.New("etcd has not answered since the server began, so that nothing is known yet: try again, or another server")
)

// run takes one state after another. After each it rests: what happens meanwhile is one state more, and not one each.
func (h *hub) run(ctx context.Context) {
	defer h.teller.end()
	for {
		apply, err := h.teller.next(ctx)
		if err != nil {
			h.finish(err)
			return
		}
		h.advance(apply)
		select {
		case <-time.After(h.rest()):
		case <-ctx.Done():
		}
	}
}

// finish ends the streams, and has the next one begin with a hub that lives.
func (h *hub) finish(err error) {
	h.api.mu.Lock()
	if h.api.hubs[h.topic] == h {
		delete(h.api.hubs, h.topic)
	}
	h.stopIdle()
	h.api.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	h.wake()
}

// advance makes a state the newest.
func (h *hub) advance(apply func() (news, broken bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news, broken := apply()
	if !news {
		return
	}
	h.seq++
	if broken {
		h.broken = h.seq
	}
	h.wake()
}

// wake has every stream look again.
func (h *hub) wake() {
	h.forget()
	close(h.changed)
	h.changed = make(chan struct{})
}

// forget drops what was encoded: it is no longer what there is to tell.
func (h *hub) forget() { h.frames, h.whole = map[uint64]*frame{}, [2]*frame{} }

// rest is how long to gather. To tell 10,000 streams takes a while in which there is no point in telling them more.
func (h *hub) rest() time.Duration {
	h.api.mu.Lock()
	defer h.api.mu.Unlock()
	return min(burst+time.Duration(h.users)*perFan, restMost)
}

// after returns what to tell a stream whose client has the state number have, 0 for none, and the number of the state that it has then.
// When there is nothing, it returns a channel that is closed when there is.
func (h *hub) after(have uint64) (f *frame, seq uint64, wait <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, have, nil, h.err
	}
	if h.seq == have {
		return nil, have, h.changed, nil
	}
	f, err = h.frameLocked(have)
	return f, h.seq, nil, err
}

// frameLocked returns what brings a client from a state to the newest, encoded by the first who asks.
func (h *hub) frameLocked(have uint64) (*frame, error) {
	if have != 0 && have >= h.broken {
		if f := h.frames[have]; f != nil {
			return f, nil
		}
		if m := h.teller.since(h.seq - have); m != nil {
			f, err := h.encode(m)
			h.frames[have] = f
			return f, err
		}
	}
	return h.wholeLocked(have != 0 && have < h.broken)
}

// wholeLocked returns the newest state as a whole.
func (h *hub) wholeLocked(reset bool) (*frame, error) {
	n := 0
	if reset {
		n = 1
	}
	if h.whole[n] == nil {
		f, err := h.encode(h.teller.snapshot(reset))
		if err != nil {
			return nil, err
		}
		h.whole[n] = f
	}
	return h.whole[n], nil
}

func (h *hub) encode(m proto.Message) (*frame, error) {
	f, err := newFrame(m)
	if err == nil {
		h.api.counts.encodings.Add(1)
		h.api.counts.bytes.Add(int64(f.bytes.Len()))
	}
	return f, err
}

// known waits until the hub knows a state.
func (h *hub) known(ctx context.Context) error {
	var silence <-chan time.Time
	for {
		h.mu.Lock()
		seq, changed, err := h.seq, h.changed, h.err
		h.mu.Unlock()
		if err != nil || seq != 0 {
			return err
		}
		if silence == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			silence = timer.C
		}
		select {
		case <-changed:
		case <-silence:
			return errSilent
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.api.ctx.Done():
			return errStopping
		}
	}
}

// serve tells a stream, whose client has the state number have, of everything from there on.
func (h *hub) serve(stream grpc.ServerStream, w *watcher, have uint64) error {
	ctx := stream.Context()
	for {
		f, seq, wait, err := h.after(have)
		if err != nil {
			return err
		}
		if f != nil {
			if h.api.ctx.Err() != nil {
				return errStopping
			}
			if err := w.send(stream, f, seq); err != nil {
				return err
			}
			have = seq
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.api.ctx.Done():
			return errStopping
		}
	}
}
