package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/without"
)

const (
	// answerTimeout is how long the server may take to open a stream or to answer the creation of a watch.
	answerTimeout = 3 * time.Second

	// maxStreams bounds how many streams with dead tokens go on beside the one that takes new watches.
	maxStreams = 4
)

// stream is one watch stream on one connection. The set's mu guards what is below it.
type stream struct {
	set     *Watches
	conn    *Conn
	raw     pb.Watch_WatchClient
	ctx     context.Context
	cancel  context.CancelCauseFunc
	wake    chan struct{} // holds one token when there is something to send
	replace chan struct{} // closed when it takes no new watches any more

	cancels []int64          // ids to be cancelled on the server
	pending []*Watch         // sent and unanswered: answers come in this order
	active  map[int64]*Watch // created
	reached int64            // the revision up to which etcd has said that all of them are
	ask     bool             // send a progress request
	dead    bool             // it takes no new watches
}

// open opens a stream and makes it the one that takes new watches.
func (s *Watches) open(ctx context.Context) (*stream, error) {
	conn, err := s.line.Conn()
	if err != nil {
		return nil, err
	}
	st := &stream{set: s, conn: conn, active: map[int64]*Watch{}, wake: make(chan struct{}, 1), replace: make(chan struct{})}
	st.ctx, st.cancel = context.WithCancelCause(conn.Context(ctx))
	watchdog := time.AfterFunc(answerTimeout, func() { st.cancel(fmt.Errorf("%s does not answer", conn.Endpoint)) })
	open := st.ctx
	if !without.Leader {
		open = clientv3.WithRequireLeader(open)
	}
	st.raw, err = pb.NewWatchClient(conn).Watch(open, ours...)
	if !watchdog.Stop() && err == nil {
		err = errLate // the watchdog is about to say so, or has
	}
	if err != nil {
		err = causeOr(st.ctx, err)
		st.cancel(nil)
		if ctx.Err() == nil && !IsRefusal(err) {
			s.line.Drop(conn)
		}
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = append(s.streams, st)
	if len(s.streams) > maxStreams {
		s.streams[0].cancel(errRetired)
	}
	st.poke()
	return st, nil
}

// errLate ends a stream that was open when its time was up.
var errLate = errors.New("etcd took too long to open a watch stream")

// causeOr prefers the reason why we cancelled a stream to the stream's own word for it.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// run serves the stream to its end, and tells its watches of it.
func (st *stream) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := st.send(); err != nil {
			st.cancel(err)
		}
	})
	err := causeOr(st.ctx, st.receive())
	st.cancel(err)
	wg.Wait()
	if ctx.Err() == nil && !errors.Is(err, errRetired) {
		st.set.line.Drop(st.conn) // whatever ended the stream: the next one tries the next member
	}
	watches := st.close()
	if ctx.Err() == nil {
		end(watches, fmt.Errorf("%w: %w", ErrBroken, err))
	}
}

// errRetired ends a stream that takes no new watches: it has none left, or too many like it are open.
var errRetired = errors.New("its token has died")

// close takes the stream out of the set and returns the watches that the server knew or was told of; those still queued
// go to the next stream.
func (st *stream) close() []*Watch {
	st.set.mu.Lock()
	defer st.set.mu.Unlock()
	watches := append(st.pending, slices.Collect(maps.Values(st.active))...)
	st.pending, st.active = nil, nil
	st.retireLocked()
	st.set.removeLocked(st)
	return watches
}

// retireLocked makes way for a fresh stream.
func (st *stream) retireLocked() {
	if !st.dead {
		st.dead = true
		close(st.replace)
	}
}

func (st *stream) poke() { token(st.wake) }

// send creates and cancels watches on the stream as they are asked for, and sees that creations are answered.
func (st *stream) send() error {
	tick := time.NewTicker(answerTimeout / 3)
	defer tick.Stop()
	for {
		select {
		case <-st.ctx.Done():
			return nil
		case <-tick.C:
			if err := st.overdue(); err != nil {
				return err
			}
		case <-st.wake:
			for _, req := range st.takeRequests() {
				if err := st.raw.Send(req); err != nil {
					return nil // receive knows the reason
				}
			}
		}
	}
}

// overdue returns why the stream is to end.
func (st *stream) overdue() error {
	st.set.mu.Lock()
	defer st.set.mu.Unlock()
	switch {
	case len(st.pending) > 0 && time.Since(st.pending[0].sent) > answerTimeout:
		return errors.New("the creation of a watch was not answered")
	case st.dead && len(st.pending)+len(st.active) == 0:
		return errRetired
	}
	return nil
}

func (st *stream) takeRequests() []*pb.WatchRequest {
	s := st.set
	s.mu.Lock()
	defer s.mu.Unlock()
	var requests []*pb.WatchRequest
	if !st.dead {
		for _, w := range s.queue {
			if !w.canceled {
				w.sent = time.Now()
				st.pending = append(st.pending, w)
				requests = append(requests, w.createRequest())
			}
		}
		s.queue = nil
	}
	for _, id := range st.cancels {
		requests = append(requests, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: id},
		}})
	}
	if st.ask {
		requests = append(requests, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
			ProgressRequest: &pb.WatchProgressRequest{},
		}})
	}
	st.cancels, st.ask = nil, false
	return requests
}

func (w *Watch) createRequest() *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(w.key), RangeEnd: []byte(w.end), StartRevision: w.rev, WatchId: w.id, Fragment: true,
		},
	}}
}

func (st *stream) receive() error {
	for {
		resp, err := st.raw.Recv()
		if err != nil {
			return err
		}
		switch {
		case resp.Created:
			st.created(resp)
		case resp.Canceled:
			st.ended(resp)
		case len(resp.Events) > 0:
			st.events(resp)
		case resp.WatchId == everyWatch:
			st.progress(resp.GetHeader().GetRevision())
		}
	}
}

func (st *stream) created(resp *pb.WatchResponse) {
	w, tell := st.answered(resp)
	switch {
	case !tell:
	case resp.Canceled:
		w.handler.Ended(reason(resp))
	default:
		w.handler.Created(resp.GetHeader().GetRevision())
	}
}

// answered finds the watch that the answer to a creation is about, and whether its handler is to be told.
func (st *stream) answered(resp *pb.WatchResponse) (w *Watch, tell bool) {
	s := st.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(st.pending) == 0 {
		return nil, false // an answer to nothing we asked
	}
	w = st.pending[0]
	st.pending = st.pending[1:]
	switch {
	case w.canceled && !resp.Canceled:
		st.cancels = append(st.cancels, w.id)
		st.poke()
	case resp.Canceled && tokenDied(resp) && !without.FreshStream:
		st.retireLocked()
		if again := w.again; again || w.canceled {
			return w, again && !w.canceled // the fresh token was no better
		}
		w.again = true
		s.queue = append(s.queue, w)
		s.pokeLocked()
		return w, false
	case !resp.Canceled:
		w.on, st.reached = st, 0
		st.active[w.id] = w
	}
	return w, !w.canceled
}

// tokenDied reports whether etcd refused a watch for the token that its stream was opened with: one that has expired, that
// is older than the latest change of anybody's permissions, or none because logging in was not needed then.
func tokenDied(resp *pb.WatchResponse) bool {
	return slices.Contains([]string{
		rpctypes.ErrGRPCInvalidAuthToken.Error(), rpctypes.ErrGRPCAuthOldRevision.Error(), rpctypes.ErrGRPCUserEmpty.Error(),
	}, resp.CancelReason)
}

func (st *stream) ended(resp *pb.WatchResponse) {
	st.set.mu.Lock()
	w := st.active[resp.WatchId]
	delete(st.active, resp.WatchId)
	st.set.mu.Unlock()
	if w != nil {
		w.handler.Ended(reason(resp))
	}
}

func reason(resp *pb.WatchResponse) error {
	if resp.CompactRevision != 0 {
		return ErrCompacted
	}
	return fmt.Errorf("%w: %s", ErrRefused, resp.CancelReason)
}

func (st *stream) events(resp *pb.WatchResponse) {
	st.set.mu.Lock()
	w := st.active[resp.WatchId]
	st.set.mu.Unlock()
	if w == nil {
		return
	}
	if w.partial != nil || resp.Fragment {
		w.partial = append(w.partial, resp.Events...)
		if resp.Fragment {
			return
		}
		resp.Events, w.partial = w.partial, nil
	}
	w.handler.Events(resp.Events)
}

// everyWatch is the id in an answer to a progress request: it speaks for all watches of the stream.
const everyWatch = -1

func (st *stream) progress(revision int64) {
	st.set.mu.Lock()
	defer st.set.mu.Unlock()
	st.reached = revision
	st.set.newsLocked()
}
