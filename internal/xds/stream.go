package xds

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stream is one client. A goroutine of its own takes its requests; the one that the client's call came on sends, and does nothing else.
type stream struct {
	s     *Server
	delta bool
	sees  func(service string) bool
	who   string
	since time.Time
	wake  chan struct{} // has capacity 1: something to be sent, maybe, or the end

	mu    sync.Mutex // taken before the server's, and before a service's
	over  error      // why the stream ends; nil: it goes on
	node  node
	wider bool // there are services that were not there before
	types [kinds]*watch
}

// StreamAggregatedResources is called by gRPC for each client that wants the state of the world.
func (s *Server) StreamAggregatedResources(call discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return serve(s, call, false, call.Recv, func(st *stream, r *discovery.DiscoveryRequest) error { return st.world(r) })
}

// DeltaAggregatedResources is called by gRPC for each client that wants to be told of changes.
func (s *Server) DeltaAggregatedResources(call discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return serve(s, call, true, call.Recv, func(st *stream, r *discovery.DeltaDiscoveryRequest) error { return st.changes(r) })
}

// serve serves a client until it goes away, a limit is met, or the server stops.
func serve[R any](s *Server, call grpc.ServerStream, delta bool, recv func() (R, error), handle func(*stream, R) error) error {
	st, err := s.enter(call.Context(), delta)
	if err != nil {
		return err
	}
	defer s.exit(st)
	s.wg.Go(func() { // which exit does not wait for: it ends with the call
		st.end(receive(st, recv, handle))
	})
	age := time.AfterFunc(jittered(s.cfg.MaxStreamAge), func() { st.end(errOld) })
	defer age.Stop()
	for asks := true; asks; {
		<-st.wake
		over := st.ended()
		asks = !errors.Is(over, io.EOF)
		if over != nil && asks {
			return over
		}
		if err := st.flush(call); err != nil {
			return err
		}
	}
	return nil // the client has nothing more to ask, and so nothing more to be told than that
}

// receive takes requests for as long as there are any. What is to be sent then, serve sends: an acknowledgement mostly leads to nothing.
func receive[R any](st *stream, recv func() (R, error), handle func(*stream, R) error) error {
	for {
		r, err := recv()
		if err != nil {
			return err
		}
		if err := handle(st, r); err != nil {
			return err
		}
	}
}

// jittered is within a fifth of d: clients that came together do not go together.
func jittered(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}

// enter lets a client in.
func (s *Server) enter(ctx context.Context, delta bool) (*stream, error) {
	_, sees := s.cfg.Sight(ctx)
	st := &stream{s: s, delta: delta, sees: sees, who: s.cfg.Author(ctx), since: time.Now(), wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errStopping
	}
	if len(s.streams) >= s.cfg.MaxStreams {
		s.counts.turnedAway.Add(1)
		return nil, status.Errorf(codes.ResourceExhausted, "this server has %d xDS streams and takes no more", s.cfg.MaxStreams)
	}
	s.streams[st] = struct{}{}
	s.wg.Add(1)
	return st, nil
}

func (s *Server) exit(st *stream) {
	s.mu.Lock()
	delete(s.streams, st)
	s.mu.Unlock()
	st.end(errStopping) // a request may still be under way
	st.mu.Lock()
	for _, w := range st.types {
		if w != nil {
			st.forget(w)
		}
	}
	st.types = [kinds]*watch{}
	st.mu.Unlock()
	s.tell()
	s.wg.Done()
}

// wakeUp has the stream look whether there is anything to send.
func (st *stream) wakeUp() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// end has the stream end, unless it is ending for another reason already.
func (st *stream) end(why error) {
	st.mu.Lock()
	if st.over == nil {
		st.over = why
	}
	st.mu.Unlock()
	st.wakeUp()
}

// ended returns why the stream ends; nil: it goes on.
func (st *stream) ended() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.over
}

// flush sends what there is to send.
func (st *stream) flush(call grpc.ServerStream) error {
	for _, r := range st.collect() {
		f := r.frame(st.delta)
		if err := call.SendMsg(f); err != nil {
			return err
		}
		st.s.counts.responses.Add(1)
		st.s.counts.bytes.Add(int64(f.bytes.Len()))
	}
	return nil
}

// collect returns the responses that the client is to have, in an order in which everything is there before it is referred to.
func (st *stream) collect() []*response {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.wider {
		st.wider = false
		st.widenLocked()
	}
	var list []*response
	for k, w := range st.types {
		if w == nil {
			continue
		}
		sent := w.collect(st.delta)
		list = append(list, sent...)
		if kind(k) == clusters && st.node.envoy {
			st.again(sent)
		}
	}
	return list
}

// again has the endpoints of clusters sent that have been sent: Envoy waits for them.
func (st *stream) again(sent []*response) {
	w := st.types[endpoints]
	if w == nil {
		return
	}
	for _, r := range sent {
		for _, res := range r.resources {
			if sub := w.subs.get(res.name); sub != nil {
				sub.sent = 0
			}
		}
	}
}
