package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// An event stream begins when there is an event, or after this time: until then a refusal is an HTTP status.
const opening = time.Second

// event is one Server-Sent Event.
type event struct {
	name string
	id   string
	data []byte // JSON; shared with other streams, and never changed
}

type received struct {
	event event
	err   error
}

// follow turns a stream of the gRPC server into events until either side ends it. It takes the next from the gRPC server when the one
// before has been written, so that a slow reader is the gRPC server's slow stream, for which that has a bound.
func (a *API) follow(w http.ResponseWriter, r *http.Request, open func(context.Context) (func() (event, error), error)) {
	if err := a.sameOrigin(r); err != nil {
		refuse(w, http.StatusForbidden, codes.PermissionDenied, "this request comes from a web page of another origin")
		return
	}
	if err := a.enter(); err != nil {
		fail(w, err)
		return
	}
	defer a.leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer context.AfterFunc(a.ending, cancel)()
	next, err := open(ctx)
	if err != nil {
		cancel()
		fail(w, err)
		return
	}
	var receiving sync.WaitGroup
	defer receiving.Wait()
	defer cancel()
	incoming := make(chan received)
	receiving.Go(func() { receive(ctx, next, incoming) })
	a.pump(ctx, &events{w: w, r: r, patience: a.patience}, incoming)
}

func receive(ctx context.Context, next func() (event, error), incoming chan<- received) {
	for {
		e, err := next()
		select {
		case incoming <- received{e, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// pump writes what comes in, and a comment when that is silent for long: proxies give up on silence, and we on a reader that is gone.
func (a *API) pump(ctx context.Context, out *events, incoming <-chan received) {
	beat := time.NewTimer(min(opening, a.heartbeat))
	defer beat.Stop()
	for {
		var err error
		select {
		case in := <-incoming:
			if in.err != nil && ctx.Err() == nil {
				out.end(in.err)
				return
			}
			if in.err == nil {
				err = out.send(in.event)
			}
		case <-beat.C:
			err = out.comment()
		case <-ctx.Done():
			if a.ending.Err() != nil {
				out.end(errStopping)
			}
			return
		}
		if err != nil {
			return // the reader is gone
		}
		beat.Reset(a.heartbeat)
	}
}

var (
	errStopping = status.Error(codes.Unavailable, "this server is stopping; come back with the last event's id, to this or another one")
	errFull     = status.Error(codes.ResourceExhausted, "this server has as many event streams as it may have")
)

// enter takes a place among the event streams.
func (a *API) enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending.Err() != nil {
		return errStopping
	}
	if a.places <= 0 {
		return errFull
	}
	a.places--
	a.running.Add(1)
	a.metrics.watches.Inc()
	return nil
}

func (a *API) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.places++
	if a.places == a.config.MaxWatches {
		a.tellings.forget()
	}
	a.running.Done()
	a.metrics.watches.Dec()
}

// sameOrigin refuses streams for pages of other origins. A browser would not show them the events, but hold the stream.
func (a *API) sameOrigin(r *http.Request) error {
	as := *r
	as.Method = http.MethodPost // reading is otherwise none of its business
	return a.origins.Check(&as)
}

// events writes Server-Sent Events.
type events struct {
	w        http.ResponseWriter
	r        *http.Request
	patience time.Duration
	begun    bool
}

func (o *events) send(e event) error {
	return o.write([]byte("id: "+e.id+"\nevent: "+e.name+"\ndata: "), e.data, []byte("\n\n"))
}

func (o *events) comment() error { return o.write([]byte(":\n\n")) }

// end says why there are no more events: by an HTTP status if there was none yet.
func (o *events) end(err error) {
	switch {
	case !o.begun && errors.Is(err, io.EOF):
		fail(o.w, errStopping)
	case !o.begun:
		fail(o.w, err)
	case !errors.Is(err, io.EOF):
		_ = o.write([]byte("event: end\ndata: "), encodeStatus(status.Convert(err)), []byte("\n\n"))
	}
}

func (o *events) write(parts ...[]byte) error {
	control := http.NewResponseController(o.w)
	if err := control.SetWriteDeadline(time.Now().Add(o.patience)); err != nil {
		return fmt.Errorf("bound the time of an event: %w", err)
	}
	if !o.begun {
		o.begin()
	}
	for _, part := range parts {
		if _, err := o.w.Write(part); err != nil {
			return err
		}
	}
	return control.Flush()
}

// begin writes the header, and how long a reader waits before it comes back when the stream ends: not all at once.
func (o *events) begin() {
	o.begun = true
	o.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	o.w.Header().Set("X-Accel-Buffering", "no") // has nginx pass events on as they come
	if o.r.ProtoMajor == 1 {
		o.w.Header().Set("Connection", "close") // the next request on it would inherit the deadline
	}
	o.w.WriteHeader(http.StatusOK)
	_, _ = fmt.Fprintf(o.w, "retry: %d\n\n", 1000+rand.IntN(2000))
}
