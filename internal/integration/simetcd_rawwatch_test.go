package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// rawWatch is a watch stream as it lies on the wire. The etcd client's own Watch cannot be used in simulated time: it
// waits on a channel that the package made, outside of all bubbles.
type rawWatch struct {
	t         *testing.T
	stream    pb.Watch_WatchClient
	responses chan *pb.WatchResponse
	err       error // why there are no more
}

func openWatch(t *testing.T, c *clientv3.Client, requireLeader bool) *rawWatch {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	if requireLeader {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	w := &rawWatch{
		t: t, stream: must[pb.Watch_WatchClient](t)(pb.NewWatchClient(c.ActiveConnection()).Watch(ctx)),
		responses: make(chan *pb.WatchResponse, 1000),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(w.responses)
		for {
			resp, err := w.stream.Recv()
			if err != nil {
				w.err = err
				return
			}
			w.responses <- resp
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

func (w *rawWatch) create(r *pb.WatchCreateRequest) {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
}

func (w *rawWatch) send(r *pb.WatchRequest) {
	w.t.Helper()
	if err := w.stream.Send(r); err != nil {
		w.t.Fatal(err)
	}
}

// progress asks how far the stream is. Its answer comes after all that was committed before.
func (w *rawWatch) progress() {
	w.t.Helper()
	w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (w *rawWatch) next(what string) *pb.WatchResponse {
	w.t.Helper()
	return receiveWithin(w.t, 8*time.Second, what, w.responses)
}

// created makes a watch and returns the answer.
func (w *rawWatch) created(r *pb.WatchCreateRequest) *pb.WatchResponse {
	w.t.Helper()
	w.create(r)
	return w.next("creation")
}

// end waits until etcd ends the stream, and returns the error; or nil when it does not in a time.
func (w *rawWatch) end(within time.Duration) error {
	w.t.Helper()
	limit := time.After(within)
	for {
		select {
		case resp, more := <-w.responses:
			if !more {
				return w.err
			}
			w.t.Errorf("not the end: %s", told(resp))
		case <-limit:
			return nil
		}
	}
}

// quiet fails when the stream says anything for a time.
func (w *rawWatch) quiet(in passing, d time.Duration, what string) {
	w.t.Helper()
	in.Pass(d)
	select {
	case resp := <-w.responses:
		w.t.Errorf("%s: %s", what, told(resp))
	default:
	}
}

// told writes a response down: "3@7: put k=v delete l".
func told(r *pb.WatchResponse) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", r.WatchId)
	for flag, set := range map[string]bool{"created": r.Created, "canceled": r.Canceled} {
		if set {
			b.WriteString(" " + flag)
		}
	}
	for _, e := range r.Events {
		key := string(e.Kv.Key)[strings.LastIndex(string(e.Kv.Key), "/")+1:]
		if e.Type == mvccpb.Event_PUT {
			fmt.Fprintf(&b, " put %s=%s", key, e.Kv.Value)
		} else {
			fmt.Fprintf(&b, " delete %s", key)
		}
		if e.PrevKv != nil {
			fmt.Fprintf(&b, " was %s", e.PrevKv.Value)
		}
	}
	return b.String()
}
