package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	// ErrBroken ends every watch of a stream that broke: nothing is wrong with the watch, add it again.
	ErrBroken = errors.New("watch stream broke")

	// ErrCompacted ends a watch whose start revision etcd no longer has: list again.
	ErrCompacted = errors.New("revision compacted")

	// ErrRefused ends a watch that etcd will not serve; the text says why.
	ErrRefused = errors.New("watch refused")
)

// answerTimeout is how long the server may take to open a stream or to answer the creation of a watch.
const answerTimeout = 3 * time.Second

// Handler is told what happens to a watch. Its methods are called one at a time, on the goroutine that reads the
// stream for everybody: they must not block.
type Handler interface {
	// Created says that the server has accepted the watch, and at which revision its store is. One below the revision
	// to watch from means that nothing will come until the store is there.
	Created(revision int64)
	// Events delivers all events up to a revision, in order, whole revisions at a time.
	Events(events []*mvccpb.Event)
	// Ended is the last call, unless the watch was cancelled. The error is ErrBroken, ErrCompacted or ErrRefused.
	Ended(err error)
}

// Watches holds any number of watches on one raw watch stream of our own. Creations are pipelined: etcd's client waits
// for the answer to one before it sends the next, 2,000 a second.
type Watches struct {
	line *Line

	mu      sync.Mutex
	lastID  int64
	queue   []*Watch         // to be created, in order
	cancels []int64          // ids to be cancelled on the server
	pending []*Watch         // sent and unanswered: answers come in this order
	active  map[int64]*Watch // created
	reached int64            // the revision up to which etcd has said that all of them are
	news    chan struct{}    // closed and replaced when reached changes, or the stream ends
	ask     bool             // send a progress request
	wake    chan struct{}    // holds one token when there is something to send
}

// Watch is one watch. It ends once: by its owner's Cancel, or by itself, with a call of Ended.
type Watch struct {
	set      *Watches
	id       int64
	key, end string
	rev      int64
	handler  Handler
	sent     time.Time
	canceled bool            // guarded by set.mu
	partial  []*mvccpb.Event // fragments of one response; touched by the reader only
}

// NewWatches returns an empty set. Run must run for anything to happen.
func NewWatches(line *Line) *Watches {
	return &Watches{line: line, active: map[int64]*Watch{}, news: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// Add watches key, or the range from key to end when end is not "", from a revision on, that revision included.
func (s *Watches) Add(key, end string, rev int64, h Handler) *Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	w := &Watch{set: s, id: s.lastID, key: key, end: end, rev: rev, handler: h}
	s.queue = append(s.queue, w)
	s.poke()
	return w
}

// Cancel ends the watch. A call of the handler may still be under way, or about to begin, when it returns.
func (w *Watch) Cancel() {
	s := w.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.canceled {
		return
	}
	w.canceled = true
	if s.active[w.id] == w {
		delete(s.active, w.id)
		s.cancels = append(s.cancels, w.id)
		s.poke()
	}
}

func (s *Watches) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run serves the watches until ctx ends. Watches that are left then are dropped without a call.
func (s *Watches) Run(ctx context.Context) {
	for attempt := 0; ; attempt++ {
		if !s.waitForWork(ctx) {
			return
		}
		opened := time.Now()
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		s.endAll(fmt.Errorf("%w: %w", ErrBroken, err))
		if time.Since(opened) > 10*time.Second {
			attempt = 0
		}
		if !Sleep(ctx, Backoff(attempt)) {
			return
		}
	}
}

func (s *Watches) waitForWork(ctx context.Context) bool {
	select {
	case <-s.wake:
		s.poke()
		return true
	case <-ctx.Done():
		return false
	}
}

// serve runs one stream to its end, which is always an error.
func (s *Watches) serve(ctx context.Context) error {
	conn, err := s.line.Conn()
	if err != nil {
		return err
	}
	defer s.line.Drop(conn) // whatever ended the stream: the next one tries the next member
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	watchdog := time.AfterFunc(answerTimeout, func() { cancel(fmt.Errorf("%s does not answer", conn.Endpoint)) })
	defer watchdog.Stop()
	stream, err := pb.NewWatchClient(conn).Watch(clientv3.WithRequireLeader(ctx))
	if err != nil {
		return causeOr(ctx, err)
	}
	watchdog.Stop()

	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.send(ctx, stream); err != nil {
			cancel(err)
		}
	})
	err = causeOr(ctx, s.receive(stream))
	cancel(err)
	wg.Wait()
	return err
}

// causeOr prefers the reason why we cancelled a stream to the stream's own word for it.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// send creates and cancels watches on the stream as they are asked for, and sees that creations are answered.
func (s *Watches) send(ctx context.Context, stream pb.Watch_WatchClient) error {
	tick := time.NewTicker(answerTimeout / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if s.unanswered() {
				return errors.New("the creation of a watch was not answered")
			}
		case <-s.wake:
			for _, req := range s.takeRequests() {
				if err := stream.Send(req); err != nil {
					return nil // receive knows the reason
				}
			}
		}
	}
}

func (s *Watches) unanswered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0 && time.Since(s.pending[0].sent) > answerTimeout
}

func (s *Watches) takeRequests() []*pb.WatchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := make([]*pb.WatchRequest, 0, len(s.queue)+len(s.cancels))
	for _, w := range s.queue {
		if w.canceled {
			continue
		}
		w.sent = time.Now()
		s.pending = append(s.pending, w)
		requests = append(requests, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{
				Key: []byte(w.key), RangeEnd: []byte(w.end), StartRevision: w.rev, WatchId: w.id, Fragment: true,
			},
		}})
	}
	for _, id := range s.cancels {
		requests = append(requests, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: id},
		}})
	}
	if s.ask {
		requests = append(requests, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
			ProgressRequest: &pb.WatchProgressRequest{},
		}})
	}
	s.queue, s.cancels, s.ask = nil, nil, false
	return requests
}

func (s *Watches) receive(stream pb.Watch_WatchClient) error {
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		switch {
		case resp.Created:
			s.created(resp)
		case resp.Canceled:
			s.ended(resp)
		case len(resp.Events) > 0:
			s.events(resp)
		case resp.WatchId == everyWatch:
			s.progress(resp.GetHeader().GetRevision())
		}
	}
}

func (s *Watches) created(resp *pb.WatchResponse) {
	s.mu.Lock()
	if len(s.pending) == 0 {
		s.mu.Unlock()
		return // an answer to nothing we asked
	}
	w := s.pending[0]
	s.pending = s.pending[1:]
	switch {
	case w.canceled && !resp.Canceled:
		s.cancels = append(s.cancels, w.id)
		s.poke()
	case !w.canceled && !resp.Canceled:
		s.active[w.id] = w
	}
	gone := w.canceled
	s.mu.Unlock()
	switch {
	case gone:
	case resp.Canceled:
		w.handler.Ended(reason(resp))
	default:
		w.handler.Created(resp.GetHeader().GetRevision())
	}
}

func (s *Watches) ended(resp *pb.WatchResponse) {
	s.mu.Lock()
	w := s.active[resp.WatchId]
	delete(s.active, resp.WatchId)
	s.mu.Unlock()
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

func (s *Watches) events(resp *pb.WatchResponse) {
	s.mu.Lock()
	w := s.active[resp.WatchId]
	s.mu.Unlock()
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

func (s *Watches) progress(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reached = revision
	s.newsLocked()
}

func (s *Watches) newsLocked() {
	close(s.news)
	s.news = make(chan struct{})
}

// Reach asks etcd how far the watches are, and reports whether all that exist have delivered everything up to a revision,
// or have ended, within the limit.
func (s *Watches) Reach(ctx context.Context, revision int64, limit time.Duration) bool {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	again := time.NewTicker(limit / 10) // etcd does not answer while one of the watches catches up
	defer again.Stop()
	for {
		s.mu.Lock()
		if len(s.active) == 0 || s.reached >= revision {
			s.mu.Unlock()
			return true
		}
		s.ask = true
		s.poke()
		news := s.news
		s.mu.Unlock()
		select {
		case <-news:
		case <-again.C:
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// endAll tells every watch that the server knew or was told of; those still queued go to the next stream.
func (s *Watches) endAll(err error) {
	s.mu.Lock()
	var ended []*Watch
	for _, w := range s.pending {
		if !w.canceled {
			ended = append(ended, w)
		}
	}
	for _, w := range s.active {
		ended = append(ended, w)
	}
	s.pending, s.cancels, s.active = nil, nil, map[int64]*Watch{}
	s.ask, s.reached = false, 0
	s.newsLocked()
	if len(s.queue) > 0 {
		s.poke()
	}
	s.mu.Unlock()
	for _, w := range ended {
		w.handler.Ended(err)
	}
}
